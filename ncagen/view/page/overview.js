// Texts and tables about the dataset as a whole, and the choice of sections that apply to it.

import { bandTone } from "./band.js";
import { byId, make } from "./elements.js";
import { percent, whole } from "./format.js";
import { pairs, shareBar, table } from "./table.js";

/** Fills everything except charts. source: the dataset's twin, or null. */
export function fillOverview(data, source) {
  fillHead(data, source);
  fillFacts(data);
  fillAcceptance(data);
  fillEndings(data);
  fillColumns(data);
  fillLadder(data);
  fillIdentity(data);
  fillModel(data, source);
}

/** Removes sections that do not apply: those that need a twin, scored rows, or rows of grids. */
export function removeSections(data, source) {
  const absent = [];
  if (!source) absent.push("live", "fits");
  if (!data.frames) absent.push("endings-part");
  if (!data.ladders.length) absent.push("ladder-part");
  if (!data.measured) absent.push("histogram-part");
  if (!columnNames(data.figures).length) absent.push("columns-part");
  for (const id of absent) {
    byId(id).remove();
    document.querySelector(`nav a[href="#${id}"]`)?.remove();
  }
  if (!source) document.querySelector("a.skip").href = "#dataset";
}

function fillHead(data, source) {
  const rows = whole(data.parts.reduce((sum, part) => sum + part.rows, 0)), tokens = whole(data.row.tokens);
  document.title = `${data.name} · ncagen`;
  byId("name").textContent = data.name;
  byId("lead").textContent = source ? `${rows} ${source.description}, as ${tokens} tokens.`
    : `${rows} rows of the source ${data.source}, ${tokens} tokens each.`;
  byId("footer").textContent = `Made by ncagen ${data.version} from the dataset’s files. The page is complete: it asks `
    + "no server for anything.";
  if (source && !source.exact) {
    byId("warning").hidden = false;
    byId("warning").textContent = "This browser’s logarithms differ from the factory’s: what it computes is not the "
      + "dataset.";
  }
}

function fillFacts({ parts, row, bands, manifest, details, figures, split }) {
  const rows = parts.filter((part) => part.split === split).reduce((sum, part) => sum + part.rows, 0);
  const facts = [
    [`${split === "train" ? "training" : split} tokens`, whole(rows * row.seqLen)],
    ["bands", bands.join(", ")],
    ["vocabulary", `${whole(row.vocabulary)} ids`],
    ["size", `${whole(Math.round(manifest.bytes / 1e5) / 10)} MB of ${manifest.format}`],
    ...details,
  ];
  byId("facts").append(...facts.map(([name, value]) => make("div", {}, make("span", {}, name), make("b", {}, value))));
}

/** Mean, median and 99th percentile of stored integers beside the score, for each column and band. */
function fillColumns({ figures }) {
  const place = byId("columns");
  if (!place) return;
  const names = columnNames(figures);
  const lines = names.flatMap((name) => Object.entries(figures).map(([band, { looked, facts }]) => [
    make("code", {}, name), band, whole(looked), ...facts[name].map((value) => whole(Math.round(value))),
  ]));
  place.append(table(["column", "band", "rows read", "mean", "median", "99 % of rows up to"], lines, 2));
}

/** Names of stored integers beside the score, which are the same in each band. */
function columnNames(figures) {
  return Object.keys(Object.values(figures)[0]?.facts ?? {});
}

function fillAcceptance({ parts, panels }) {
  const lines = parts.map((part) => [
    part.band, part.split, whole(part.tried), whole(part.below), make("b", {}, whole(part.rows)), whole(part.above),
    shareBar([[part.below / part.tried, "out", "below"],
      [part.rows / part.tried, bandTone(panels.find((band) => band.name === part.band)), "kept"],
      [part.above / part.tried, "out", "above"]]),
    percent(part.rows, part.tried),
  ]);
  byId("acceptance").append(table(["band", "split", "tried", "below", "kept", "above", "", "share kept"], lines, 2));
}

function fillEndings({ figures, frames }) {
  const place = byId("endings");
  if (!place) return;
  const lines = Object.entries(figures).map(([name, f]) => [
    name, whole(f.looked), percent(f.frozen, f.looked), percent(f.periodic, f.looked),
    percent(f.looked - f.frozen - f.periodic, f.looked),
  ]);
  place.append(table(["band", "rows read", "frozen", "periodic", "neither"], lines),
    make("p", { class: "note" }, "Frozen: the last two grids are equal. Periodic: not frozen, and the last grid is "
      + `equal to an earlier one, 2 to ${frames - 1} grids before.`));
}

function fillLadder({ ladders }) {
  const place = byId("ladder");
  if (!place) return;
  for (const { title, names, lines } of ladders) place.append(make("h4", {}, title), table(names, lines));
}

function fillIdentity({ manifest }) {
  const versions = Object.entries(manifest.toolchain);
  byId("identity").append(
    pairs([
      ["dataset sha256", make("code", {}, manifest.dataset_sha256)],
      ["spec sha256", make("code", {}, manifest.spec_sha256)],
      ["files", `${whole(manifest.files)} of ${manifest.format}`],
      ["made with", versions.map(([name, version]) => `${name} ${version}`).join(", ")],
    ]),
    make("details", {}, make("summary", {}, "Spec"),
      make("pre", { tabindex: 0 }, JSON.stringify(manifest.spec, null, 1))));
}

function fillModel({ row }, source) {
  const { tokens, seqLen, unpredictable, structural } = row;
  const start = `A row is ${whole(tokens)} tokens`;
  const reads = `The model reads the first ${whole(seqLen)} and predicts the next token at every position.`;
  const ids = structural.length ? ` Delimiters: ${structural.join(", ")}.` : "";
  const masked = unpredictable ? ` Nothing predicts the first ${whole(unpredictable)}, so their labels are masked `
    + "(−100)." : "";
  byId("model-lead").textContent = source
    ? `${start}: ${source.format}. ${reads} Nothing predicts the first grid, so its labels are masked (−100), as in `
      + "the paper. To predict the others, a model has to infer the rule from what it has seen. This is the row chosen "
      + "above."
    : `${start}.${ids} ${reads}${masked} This is the row chosen above.`;
}
