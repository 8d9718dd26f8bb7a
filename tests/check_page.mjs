// node check_page.mjs PAGE.html: opens a page in headless Chromium and prints, as JSON, a row for each width and theme.
// node check_page.mjs http://... OUT PICTURE...: of a server, once it has answered the pictures by keyboard alone; OUT gets
// a PNG for each row.
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
const [given, out, ...pictures] = process.argv.slice(2);
const url = given.startsWith("http") ? given : pathToFileURL(given).href;
const isOwn = (address) => /^(file|data|blob):/.test(address) || (out && address.startsWith(url));

async function ask(page) {
  await page.keyboard.press("Tab");
  const chooser = page.waitForFileChooser();
  await page.keyboard.press("Space");
  await (await chooser).accept(pictures);
  const answered = `document.getElementById("status").textContent.startsWith("${pictures.length} of")`;
  await page.waitForFunction(answered, { timeout: 60000 });
  await page.keyboard.press("Tab"); // the button of the first picture's card
  await page.keyboard.press("Enter");
  await page.waitForFunction("document.querySelector('img.heat')?.naturalWidth", { timeout: 60000 });
  return page.evaluate(() => [...document.querySelectorAll("article")].map((card) => card.innerText));
}

for (const width of [360, 1280])
  for (const theme of ["light", "dark"]) {
    const page = await browser.newPage();
    await page.evaluateOnNewDocument(() => localStorage.clear()); // a page may remember the theme before
    const asked = [];
    page.on("request", (request) => isOwn(request.url()) || asked.push(request.url()));
    page.on("pageerror", (error) => asked.push(String(error)));
    await page.setViewport({ width, height: 800 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    await page.goto(url);
    const cards = out && (await ask(page));
    await page.evaluate(axe);
    const found = await page.evaluate(() => axe.run(document));
    const broken = await page.evaluate(() => [...document.images].filter((image) => !image.naturalWidth).length);
    rows.push({
      width,
      theme,
      asked,
      broken,
      cards,
      violations: found.violations.map((each) => `${each.id}: ${each.nodes[0].html}`),
      passes: found.passes.length,
      needed: await page.evaluate(() => document.documentElement.scrollWidth),
    });
    if (out) await page.screenshot({ path: `${out}-${width}-${theme}.png`, fullPage: true });
  }
await browser.close();
console.log(JSON.stringify(rows));
