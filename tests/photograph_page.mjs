// node photograph_page.mjs PAGE.html OUT.png: the top of a page in headless Chromium.
// The packages are those of the working directory: npm install puppeteer-core @sparticuz/chromium
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.cwd() + "/");
const load = async (name) => (await import(pathToFileURL(require.resolve(name)))).default;
const [chromium, puppeteer] = [await load("@sparticuz/chromium"), await load("puppeteer-core")];
const browser = await puppeteer.launch({
  args: [...chromium.args, "--no-sandbox"],
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
const page = await browser.newPage();
await page.setViewport({ width: 1000, height: 1100 });
await page.goto(pathToFileURL(process.argv[2]).href);
await page.screenshot({ path: process.argv[3] });
await browser.close();
