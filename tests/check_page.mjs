// node check_page.mjs PAGE.html: opens a page in headless Chromium and prints, as JSON, a row for each width and theme.
// The packages are those of the working directory: npm install axe-core puppeteer-core @sparticuz/chromium
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.cwd() + "/");
const load = async (name) => (await import(pathToFileURL(require.resolve(name)))).default;
const [chromium, puppeteer] = [await load("@sparticuz/chromium"), await load("puppeteer-core")];
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const browser = await puppeteer.launch({
  args: [...chromium.args, "--no-sandbox"],
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
const rows = [];
for (const width of [360, 1280])
  for (const theme of ["light", "dark"]) {
    const page = await browser.newPage();
    const asked = [];
    page.on("request", (request) => /^(file|data):/.test(request.url()) || asked.push(request.url()));
    await page.setViewport({ width, height: 800 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    await page.goto(pathToFileURL(process.argv[2]).href);
    await page.evaluate(axe);
    const found = await page.evaluate(() => axe.run(document));
    const broken = await page.evaluate(() => [...document.images].filter((image) => !image.naturalWidth).length);
    rows.push({
      width,
      theme,
      asked,
      broken,
      violations: found.violations.map((each) => `${each.id}: ${each.nodes[0].html}`),
      passes: found.passes.length,
      needed: await page.evaluate(() => document.documentElement.scrollWidth),
    });
  }
await browser.close();
console.log(JSON.stringify(rows));
