// Builds the page from the data block that webpage.py wrote.

import { ComputedRows } from "./computed_rows.js";
import { connectLinks, connectTheme } from "./controls.js";
import { drawDomains } from "./domains.js";
import { byId } from "./elements.js";
import { drawFrequencies } from "./frequencies.js";
import { drawHistogram } from "./histogram.js";
import { LiveView } from "./live.js";
import { ModelView } from "./model_view.js";
import { fillOverview, removeSections } from "./overview.js";
import { makeRow, openSource } from "./source.js";
import { StoredRows } from "./stored_rows.js";

const data = JSON.parse(byId("data").textContent), source = openSource(data);

removeSections(data, source);
fillOverview(data, source);
connectLinks();
const live = source && new LiveView(data, source);
if (data.measured) drawHistogram(byId("histogram"), data, source && source.noiseRatio);
drawFrequencies(byId("frequencies"), data);
if (source) drawDomains(byId("domains"), data);
const model = new ModelView(byId("tokens"), data.row, source), onRow = (row) => model.show(row);
const rows = source ? new ComputedRows(byId("rows"), data, source, onRow) : new StoredRows(byId("rows"), data, onRow);
connectTheme(() => rows.draw());

// For the browser's console: ncagen.makeRow(ncagen.source, 0, 5n) is the training row of candidate 5.
globalThis.ncagen = { data, source, makeRow, live, rows, model };
