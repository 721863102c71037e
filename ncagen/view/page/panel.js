// One running automaton of one band: its picture, its gauge, its score, and the search for another rule.

import { bandLengths, bandLimits, bandOf, bandTone } from "./band.js";
import { make } from "./elements.js";
import { whole } from "./format.js";
import { Gauge } from "./gauge.js";
import { STREAMS } from "./philox.js";
import { findCandidate, scoreCandidate } from "./search.js";

export class Panel {
  /** live: the view with this panel, which has the `source`. number: the panel's key on the keyboard. */
  constructor(live, band, number) {
    this.live = live;
    this.band = band;
    this.stream = STREAMS[live.data.split];
    this.search = 0;
    this.canvas = make("canvas", { width: live.source.width, height: live.source.height });
    this.square = make("button", {
      type: "button", class: "square", "aria-label": `Another ${band.name} rule`, click: () => this.another(),
    }, this.canvas);
    this.gauge = new Gauge();
    this.texts = Object.fromEntries(["ratio", "bytes", "live", "candidate", "step"].map((name) => [name, make("dd")]));
    this.span = make("dt");
    this.note = make("p", { class: "note", "aria-live": "polite" });
    this.element = make("article", { class: `panel ${bandTone(band)}`, "aria-label": `${band.name} complexity` },
      make("header", {}, make("h3", {}, band.name), make("span", { class: "limits" }, bandLimits(band)),
        make("kbd", { title: `Key ${number}: another ${band.name} rule` }, String(number))),
      this.square, this.gauge.element,
      make("dl", {},
        make("dt", {}, "gzip ratio"), this.texts.ratio,
        make("dt", {}, "gzip bytes"), this.texts.bytes,
        this.span, this.texts.live,
        make("dt", {}, "candidate"), this.texts.candidate,
        make("dt", {}, "step"), this.texts.step),
      this.note);
  }

  /** Shows another rule of the band: a row of the dataset, or, with other settings, any candidate. */
  async another() {
    const { live, band } = this, sample = live.sampleOf(band);
    if (sample) return this.show(BigInt(otherThan(String(this.candidate), sample.candidates)));
    const stale = this.begin();
    this.note.textContent = "Looking for a rule.";
    const found = await findCandidate(live.source, this.stream, bandOf(band, live.source, live.own), (tried) => {
      if (stale()) return true;
      if (tried % 10 === 0) this.note.textContent = `Looking for a rule: ${whole(tried)} tried.`;
      return false;
    });
    if (!found || stale()) return undefined;
    this.turnTo(found);
    if (!found.inside) this.note.textContent = `No rule of this band among ${whole(found.tried)}: this is the nearest.`;
    return undefined;
  }

  /** Shows a candidate from its first recorded grid on. */
  async show(candidate) {
    const stale = this.begin(), found = await scoreCandidate(this.live.source, this.stream, candidate);
    if (!stale()) this.turnTo(found);
  }

  /** Cancels running work; returns a function that tells whether the work that starts now was cancelled too. */
  begin() {
    const run = ++this.search, { source } = this.live;
    return () => run !== this.search || source !== this.live.source;
  }

  turnTo({ candidate, first, gzipBytes }) {
    Object.assign(this, { candidate, first, gzipBytes, source: this.live.source });
    this.restart();
    this.live.remember();
  }

  restart() {
    this.automaton = this.source.play(this.stream, this.candidate, this.first);
    this.recent = [this.source.patchTokens(this.automaton.cells)];
    this.liveBytes = null;
    this.describe();
    this.draw();
  }

  advance() {
    if (!this.automaton) return;
    const { source, automaton } = this;
    automaton.advance();
    if (!source.isFrame(automaton.step)) return;
    this.recent = [...this.recent, source.patchTokens(automaton.cells)].slice(-source.scoredFrames);
    if (this.recent.length === source.scoredFrames) this.liveBytes = source.score(this.recent);
  }

  draw() {
    if (!this.automaton) return;
    const { source, canvas } = this, { height, width } = source;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    source.draw(canvas.getContext("2d"), this.automaton.cells, 0, 0, width, height);
    const ratio = this.liveBytes === null ? null : this.liveBytes / source.scoredBytes;
    this.texts.step.textContent = whole(this.automaton.step);
    this.texts.live.textContent = ratio === null ? "–" : ratio.toFixed(3);
    this.gauge.showLive(ratio);
  }

  /** Writes the texts that do not change while a rule runs. */
  describe() {
    const { live, source } = this, bytes = source.scoredBytes, ratio = this.gzipBytes / bytes;
    const band = bandOf(this.band, source, live.own);
    const [first, end] = bandLengths(band, bytes), inside = this.gzipBytes >= first && this.gzipBytes < end;
    this.span.textContent = `last ${source.scoredFrames} grids`;
    this.texts.ratio.replaceChildren(make("b", {}, ratio.toFixed(3)));
    this.texts.bytes.textContent = `${whole(this.gzipBytes)} of ${whole(bytes)}`;
    this.texts.candidate.textContent = String(this.candidate);
    const row = live.rowOf(band, this.candidate);
    this.note.textContent = row !== null ? `Row ${whole(row)} of the dataset.`
      : inside ? "Not a row of this dataset." : "Outside of this band.";
    this.gauge.draw(band, ratio, source.noiseRatio, inside);
  }
}

/** A random element of a list that is not `shown`; `shown` if there is no other. */
function otherThan(shown, list) {
  const others = list.filter((element) => element !== shown);
  return others.length ? others[Math.floor(Math.random() * others.length)] : shown;
}
