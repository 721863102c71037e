// Puts the page together from the data that stands in it.
"use strict";

const DATA = JSON.parse(byId("data").textContent);

/** Whether this browser's logarithms give the factory's tables. */
function exactHere() {
  const sums = tableSums();
  return Object.entries(DATA.tableSums).every(([name, sum]) => sums[name] === sum);
}

function fillHead() {
  const { settings, manifest } = DATA, rows = DATA.parts.reduce((sum, part) => sum + part.rows, 0);
  document.title = `${DATA.name} · ncagen`;
  byId("name").textContent = DATA.name;
  byId("lead").textContent = `${whole(rows)} trajectories of random neural cellular automata: ${settings.frames} grids `
    + `of ${settings.grid} × ${settings.grid} cells in ${settings.states} states each, as `
    + `${whole(manifest.row_tokens)} tokens.`;
  byId("footer").textContent = `Made by ncagen ${DATA.version} from the dataset’s files. The page is complete: it asks `
    + "no server for anything.";
  if (!exactHere()) {
    byId("warning").hidden = false;
    byId("warning").textContent = "This browser’s logarithms differ from the factory’s: what it computes is not the "
      + "dataset.";
  }
}

function fillFacts() {
  const { settings, manifest } = DATA, { spec } = manifest;
  const training = DATA.parts.filter((part) => part.split === "train").reduce((sum, part) => sum + part.rows, 0);
  const facts = [
    ["training tokens", whole(training * settings.seqLen)],
    ["bands", spec.bands.map((band) => band.name).join(", ")],
    ["vocabulary", `${whole(manifest.vocabulary)} ids`],
    ["size", `${whole(Math.round(manifest.bytes / 1e5) / 10)} MB of ${manifest.format}`],
    ["temperature", String(spec.temperature)],
    ["warm-up steps", whole(settings.warmup)],
    ["recorded", settings.stride === 1 ? "each step" : `every ${whole(settings.stride)} steps`],
    ["seed", String(settings.seed)],
  ];
  byId("facts").append(...facts.map(([name, value]) => make("div", {}, make("span", {}, name), make("b", {}, value))));
}

function fillAcceptance() {
  const lines = DATA.parts.map((part) => [
    part.band, part.split, whole(part.tried), whole(part.below), make("b", {}, whole(part.rows)), whole(part.above),
    shareBar([[part.below / part.tried, "out", "below"],
      [part.rows / part.tried, bandTone(DATA.panels.find((band) => band.name === part.band)), "kept"],
      [part.above / part.tried, "out", "above"]]),
    percent(part.rows, part.tried),
  ]);
  byId("acceptance").append(table(["band", "split", "tried", "below", "kept", "above", "", "share kept"], lines, 2));
}

function fillEndings() {
  const lines = Object.entries(DATA.figures).map(([name, f]) => [
    name, whole(f.looked), percent(f.frozen, f.looked), percent(f.periodic, f.looked),
    percent(f.looked - f.frozen - f.periodic, f.looked),
  ]);
  byId("endings").append(table(["band", "looked at", "frozen", "periodic", "neither"], lines),
    make("p", { class: "note" }, "Frozen: the last two grids are equal. Periodic: not frozen, and the last grids "
      + `repeat those before them, with a period of 2 to ${Math.floor(DATA.settings.frames / 2)} grids.`));
}

function fillIdentity() {
  const { manifest } = DATA, versions = Object.entries(manifest.toolchain);
  const pairs = [
    ["dataset sha256", make("code", {}, manifest.dataset_sha256)],
    ["spec sha256", make("code", {}, manifest.spec_sha256)],
    ["files", `${whole(manifest.files)} of ${manifest.format}`],
    ["made with", versions.map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  byId("identity").append(
    make("dl", { class: "pairs" }, pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    make("details", {}, make("summary", {}, "Spec"),
      make("pre", { tabindex: 0 }, JSON.stringify(manifest.spec, null, 1))));
}

function fillModel() {
  const { settings, manifest } = DATA, first = patchIds(settings), patches = (settings.grid / settings.patch) ** 2;
  byId("model-lead").textContent = `A row is ${whole(manifest.row_tokens)} tokens: ${settings.frames} grids of `
    + `${patches} patches, each grid between a start (${first}) and an end (${first + 1}). The model reads the first `
    + `${whole(settings.seqLen)} and predicts at every place the token after it. Nothing predicts the first grid, so `
    + "its labels are masked (−100), as in the paper. To predict the others, a model has to infer the rule from what "
    + "it has seen. This is the row chosen above.";
}

/** Links within the page move without touching the address, which holds what is watched. */
function connectLinks() {
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const section = byId(link.getAttribute("href").slice(1));
      section.scrollIntoView();
      section.focus({ preventScroll: true });
    });
  }
}

function connectTheme(onChange) {
  const button = byId("theme"), root = document.documentElement;
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const show = () => {
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", `Turn the page ${dark ? "light" : "dark"}`);
  };
  button.addEventListener("click", () => {
    dark = !dark;
    root.dataset.theme = dark ? "dark" : "light";
    show();
    onChange();
  });
  show();
}

fillHead();
fillFacts();
fillAcceptance();
fillEndings();
fillIdentity();
fillModel();
connectLinks();
const watch = new Watch(DATA);
drawHistogram(byId("histogram"), DATA, noiseRatio(DATA.settings));
drawZipf(byId("zipf"), DATA);
drawDomains(byId("domains"), DATA);
const model = new ModelView(byId("tokens"), DATA);
const browser = new RowBrowser(byId("rows"), DATA, (row) => model.show(row));
connectTheme(() => browser.draw());
