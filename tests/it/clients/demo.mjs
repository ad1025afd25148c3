// Drives the demo page in Chromium as a person would, and prints what the page says, one JSON object a line.
//
//   node demo.mjs URL FOLDER      with NODE_PATH naming the folder of playwright-core; screenshots go into FOLDER
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, folder] = process.argv.slice(2);
const { chromium } = createRequire(join(process.env.NODE_PATH, "from-there.js"))("playwright-core");

const say = (fact) => console.log(JSON.stringify(fact));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 1150 } });
  page.setDefaultTimeout(15_000);
  page.on("pageerror", (error) => say({ page_error: String(error) }));
  page.on("console", (message) => {
    if (message.type() === "error") say({ console_error: message.text() });
  });
  page.on("requestfailed", (request) => say({ request_failed: request.url() }));
  await page.goto(url);
  say({ title: await page.title(), people: await page.locator(".person").count() });

  // Everyone connects and looks at what the scene gives them.
  await page.getByRole("button", { name: "Set the scene" }).click();
  await page.waitForFunction(() => {
    const people = [...document.querySelectorAll(".person")];
    const topics = [...document.querySelectorAll(".topics li")];
    return people.every((person) => person.dataset.state === "online")
      && topics.length === 10 && topics.every((topic) => topic.dataset.confirmed === "true");
  });
  say({ scene: "set", states: await page.locator(".person .state").allTextContents() });

  // Each example reaches whom it should.
  for (const example of await page.locator("#examples button").all()) {
    await example.click();
    say({ example: await example.textContent(), ...(await publish(page)) });
  }
  await page.screenshot({ path: join(folder, "demo-light.png"), fullPage: true });

  // An event with a tenant and `send_to_all` reaches nobody.
  await page.locator("#event").fill(JSON.stringify({ send_to_all: true, data: { tenant_id: "acme", type: "maintenance" } }));
  say({ example: "everyone, but of a tenant", ...(await publish(page)) });

  // What is no event is refused, in the server's words.
  await page.locator("#event").fill('{"data": ');
  say({ example: "broken", ...(await publish(page)) });

  // A topic that one may not look at is denied, and said so.
  const bob = page.locator("#person-bob");
  await bob.locator("input").fill("managers:q3");
  await bob.locator("input").press("Enter");
  await bob.locator('.log li[data-kind="denied"]').waitFor();
  say({ denied: (await bob.locator('.log li[data-kind="denied"]').textContent()).includes("managers:q3") });

  // Who stops looking, and who leaves, hears no more.
  await page.getByRole("button", { name: "Bob: stop looking at deal:42" }).click();
  await page.getByRole("button", { name: "Disconnect Cleo" }).click();
  await page.locator("#examples button").first().click();
  say({ example: "after leaving", ...(await publish(page)) });

  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: join(folder, "demo-dark.png"), fullPage: true });
  await page.setViewportSize({ width: 420, height: 900 });
  await page.screenshot({ path: join(folder, "demo-narrow.png"), fullPage: true });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  say({ narrow: width <= 420 ? "fits" : `${width} px wide` });
  say({ done: true });
} finally {
  await browser.close();
}

/** Publishes by the keyboard what stands in the editor, and answers what the page says of it. */
async function publish(page) {
  await page.locator("#event").focus();
  // Once the key is pressed the page says `waiting`.
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => ["settled", "refused"].includes(document.querySelector("#outcome").dataset.state));
  return page.locator("#outcome").evaluate((outcome) => ({
    state: outcome.dataset.state,
    reached: outcome.dataset.reached,
    missed: outcome.dataset.missed,
    text: outcome.textContent,
  }));
}
