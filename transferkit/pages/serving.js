
"use strict";
const drop = document.getElementById("drop"), input = document.getElementById("pictures");
const statusLine = document.getElementById("status"), answers = document.getElementById("answers");
const MOST = Number(drop.dataset.megabytes) * 1e6, AT_ONCE = 4, TRIES = 8;
const waiting = [];
let running = 0, asked = 0, done = 0;

function make(name, text = "", facts = {}) {
  const element = Object.assign(document.createElement(name), facts);
  element.append(text);
  return element;
}

async function send(path, file) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  for (let tries = 1; ; tries++) {
    const response = await fetch(path, { method: "POST", body: file, headers: { "Content-Type": type } });
    if (response.ok) return response;
    if (response.status !== 503 || tries === TRIES) throw new Error((await response.json()).error);
    await new Promise((resolve) => setTimeout(resolve, 1000 * (0.5 + Math.random())));
  }
}

function explainFailure(error) {
  return error instanceof TypeError ? "The server does not answer." : error.message;
}

function makeCard(file) {
  const card = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const name = file.name || "pasted picture", image = card.querySelector("img");
  card.querySelector("h2").textContent = name;
  image.alt = name;
  image.onerror = () => image.replaceWith(make("p", "This browser cannot show the picture.", { className: "soft" }));
  image.src = URL.createObjectURL(file);
  return card;
}

function showAnswer(card, file, row) {
  const table = make("table", "", { className: "bars" }), body = make("tbody");
  table.append(make("caption", row.label), body);
  for (const [label, probability] of row.top) {
    const line = make("tr"), bar = make("div");
    const share = `${(100 * probability).toFixed(1)}%`;
    bar.style.width = share;
    const track = make("div", bar, { className: "track" });
    track.setAttribute("aria-hidden", "true");
    line.append(make("th", label, { scope: "row" }), make("td", track), make("td", share, { className: "n" }));
    body.append(line);
  }
  const answer = card.querySelector(".answer");
  answer.replaceChildren(table);
  if (row.unlike > 1) answer.append(make("p", "It looks unlike the training pictures, so the answer may be wrong."));
  const button = document.getElementById("explain").content.firstElementChild?.cloneNode(true);
  if (!button) return;
  button.onclick = () => explain(card, file, row.label, button);
  answer.append(button);
}

async function explain(card, file, label, button) {
  const views = card.querySelector(".views"), shown = views.querySelector(".heat");
  if (shown) {
    shown.hidden = !shown.hidden;
    views.firstElementChild.hidden = !shown.hidden;
    button.setAttribute("aria-pressed", String(!shown.hidden));
    return;
  }
  button.disabled = true;
  try {
    const response = await send(`/explain?class=${encodeURIComponent(label)}`, file);
    const alt = `Grad-CAM of ${label}: the picture in grey, yellow where it speaks most for ${label}`;
    views.append(make("img", "", { className: "heat", alt, src: URL.createObjectURL(await response.blob()) }));
    views.firstElementChild.hidden = true;
    button.setAttribute("aria-pressed", "true");
  } catch (error) {
    button.replaceWith(make("p", explainFailure(error), { className: "error" }));
  } finally {
    button.disabled = false;
  }
}

async function classify(file, card) {
  try {
    if (file.size > MOST) throw new Error(`The picture has more than ${MOST / 1e6} MB.`);
    const [row] = await (await send("/predict", file)).json();
    showAnswer(card, file, row);
  } catch (error) {
    card.querySelector(".answer").replaceChildren(make("p", explainFailure(error), { className: "error" }));
  }
}

async function work() {
  running++;
  while (waiting.length) {
    await classify(...waiting.shift());
    statusLine.textContent = `${++done} of ${asked} answered`;
  }
  running--;
}

function accept(files) {
  const jobs = files.map((file) => [file, makeCard(file)]);
  answers.prepend(...jobs.map(([, card]) => card));
  waiting.push(...jobs);
  asked += jobs.length;
  statusLine.textContent = asked ? `${done} of ${asked} answered` : "";
  while (running < AT_ONCE && waiting.length) work();
}

input.addEventListener("change", () => {
  accept([...input.files]);
  input.value = "";
});
document.addEventListener("paste", (event) => accept([...event.clipboardData.files]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  accept([...event.dataTransfer.files]);
});
