// Live automata, one for each band: play, step, other rules, other settings, and a link to what is shown.
"use strict";

const TRIES = 1000, HOPELESS_TRIES = 30, SEARCH_SECONDS = 20, SLICE = 8, NOISE_SAMPLES = 64;
const SPEED = { least: 1, most: 60, usual: 8 };

/** Settings with another grid, states or seed, and what follows from these. */
function changed(data, base, { grid, states, seed }) {
  const { colours, ...units } = data.choices.states[states];
  const next = { ...base, grid, states, seed, ...units };
  next.frames = Math.ceil((next.seqLen + 1) / ((grid / next.patch) ** 2 + 2));
  return next;
}

function scoredGrids(settings) {
  return Math.min(SCORED_GRIDS, settings.frames);
}

function scoredLength(settings) {
  return scoredGrids(settings) * (settings.grid / settings.patch) ** 2 * 4;
}

/** What pure noise scores, from fewer samples where they are long. */
function noiseRatio(settings) {
  const bytes = scoredLength(settings), samples = Math.max(2, Math.min(NOISE_SAMPLES, Math.floor(1e5 / bytes)));
  return noiseLength(settings, samples) / bytes;
}

function randomCandidate() {
  return BigInt(crypto.getRandomValues(new Uint32Array(1))[0]);
}

/** One band: its square, its gauge, its rule. */
class Panel {
  constructor(watch, band, number) {
    this.watch = watch;
    this.band = band;
    this.search = 0;
    this.canvas = make("canvas", {});
    this.square = make("button", {
      type: "button", class: "square", "aria-label": `Another ${band.name} rule`, click: () => this.another(),
    }, this.canvas);
    this.gauge = shape("svg", { class: "gauge", viewBox: "0 0 200 30", role: "img" });
    this.texts = Object.fromEntries(["ratio", "bytes", "live", "candidate", "step"].map((name) => [name, make("dd")]));
    this.span = make("dt");
    this.note = make("p", { class: "note", "aria-live": "polite" });
    this.element = make("article", { class: `panel ${bandTone(band)}`, "aria-label": `${band.name} complexity` },
      make("header", {}, make("h3", {}, band.name), make("span", { class: "limits" }, limitsOf(band)),
        make("kbd", { title: `Key ${number}: another ${band.name} rule` }, String(number))),
      this.square, this.gauge,
      make("dl", {},
        make("dt", {}, "gzip ratio"), this.texts.ratio,
        make("dt", {}, "gzip bytes"), this.texts.bytes,
        this.span, this.texts.live,
        make("dt", {}, "candidate"), this.texts.candidate,
        make("dt", {}, "step"), this.texts.step),
      this.note);
  }

  /** Looks for another rule of the band: a row of the dataset, or, with other settings, any candidate. */
  async another() {
    const { watch, band } = this, run = ++this.search, sample = watch.sampleOf(band);
    if (sample) {
      const i = Math.floor(Math.random() * sample.candidates.length);
      this.show(BigInt(sample.candidates[i]));
      return;
    }
    const { settings } = watch, bytes = scoredLength(settings), [first, end] = bandLengths(band, bytes);
    const distance = (length) => Math.max(first - length, length - end + 1, 0);
    const tries = first > watch.noise * bytes * 1.02 ? HOPELESS_TRIES : TRIES, begun = performance.now();
    let nearest = null;
    this.note.textContent = "Looking for a rule.";
    for (let tried = 1; ; tried++) {
      const candidate = randomCandidate(), { length } = await watch.score(candidate);
      if (run !== this.search || settings !== watch.settings) return;
      if (!nearest || distance(length) < distance(nearest.length)) nearest = { candidate, length };
      if (distance(nearest.length) === 0) return this.show(nearest.candidate);
      if (tried === tries || performance.now() - begun > 1000 * SEARCH_SECONDS) {
        await this.show(nearest.candidate);
        if (this.candidate === nearest.candidate) {
          this.note.textContent = `No rule of this band among ${whole(tried)}: this is the nearest.`;
        }
        return;
      }
      if (tried % 10 === 0) this.note.textContent = `Looking for a rule: ${whole(tried)} tried.`;
    }
  }

  /** Turns to a candidate, at its first recorded grid. */
  async show(candidate) {
    const { watch } = this, run = ++this.search, { settings } = watch;
    const { length, first } = await watch.score(candidate);
    if (run !== this.search || settings !== watch.settings) return;
    Object.assign(this, { candidate, settings, first, gzipBytes: length });
    this.restart();
    watch.remember();
  }

  restart() {
    const { settings } = this;
    this.automaton = new Automaton(settings, this.watch.stream, this.candidate);
    this.automaton.cells.set(this.first);
    this.automaton.step = settings.warmup;
    this.recent = [patchTokens(settings, this.automaton.cells)];
    this.liveBytes = null;
    this.describe();
    this.draw();
  }

  advance() {
    if (!this.automaton) return;
    const { settings, automaton } = this;
    automaton.advance();
    if ((automaton.step - settings.warmup) % settings.stride) return;
    this.recent.push(patchTokens(settings, automaton.cells));
    this.recent = this.recent.slice(-scoredGrids(settings));
    if (this.recent.length < scoredGrids(settings)) return;
    this.liveBytes = gzipLength(scoredBytes(this.recent));
  }

  draw() {
    if (!this.automaton) return;
    const { settings, canvas } = this, { colours } = this.watch.data.choices.states[settings.states];
    if (canvas.width !== settings.grid) canvas.width = canvas.height = settings.grid;
    drawGrid(canvas.getContext("2d"), this.automaton.cells, settings.grid, colours, 0, 0, settings.grid);
    const bytes = scoredLength(settings);
    this.texts.step.textContent = whole(this.automaton.step);
    this.texts.live.textContent = this.liveBytes === null ? "–" : (this.liveBytes / bytes).toFixed(3);
    this.mark?.setAttribute("visibility", this.liveBytes === null ? "hidden" : "visible");
    if (this.liveBytes !== null) this.mark?.setAttribute("cx", this.at(this.liveBytes / bytes));
  }

  /** What stays the same while a rule runs. */
  describe() {
    const { watch, band } = this, bytes = scoredLength(this.settings), ratio = this.gzipBytes / bytes;
    const [first, end] = bandLengths(band, bytes), inside = this.gzipBytes >= first && this.gzipBytes < end;
    this.span.textContent = `last ${scoredGrids(this.settings)} grids`;
    this.texts.ratio.replaceChildren(make("b", {}, ratio.toFixed(3)));
    this.texts.bytes.textContent = `${whole(this.gzipBytes)} of ${whole(bytes)}`;
    this.texts.candidate.textContent = String(this.candidate);
    const row = watch.rowOf(band, this.candidate);
    this.note.textContent = row !== null ? `Row ${whole(row)} of the dataset.`
      : inside ? "Not a row of this dataset." : "Outside of this band.";
    this.drawGauge(ratio, inside);
  }

  at(ratio) {
    return 4 + 192 * Math.min(1, ratio / this.top);
  }

  drawGauge(ratio, inside) {
    const { band } = this, { noise } = this.watch;
    this.top = Math.max(0.72, noise * 1.08, ratio);
    const box = (low, high, kind) => {
      const [left, right] = [this.at(low), this.at(Math.min(high, this.top))];
      return shape("rect", { x: left, y: 9, width: Math.max(0, right - left), height: 8, class: kind });
    };
    this.mark = shape("circle", { cy: 13, r: 4.5, class: "live", visibility: "hidden" });
    this.gauge.setAttribute("aria-label", `Gzip ratio ${ratio.toFixed(3)}, ${inside ? "in" : "outside of"} the band `
      + `${limitsOf(band)}; pure noise scores ${noise.toFixed(3)}`);
    this.gauge.replaceChildren(
      box(0, this.top, "track"), box(band.low, band.high, `bar ${bandTone(band)}`),
      shape("line", { x1: this.at(noise), x2: this.at(noise), y1: 4, y2: 21, class: "noise" }),
      shape("text", { x: this.at(noise), y: 29, "text-anchor": "end", class: "tick" }, "noise"),
      shape("text", { x: this.at(band.low), y: 29, "text-anchor": "middle", class: "tick" }, trim(band.low)),
      shape("path", { d: `M${this.at(ratio)},17 l4.5,-14 h-9 z`, class: "row" }), this.mark);
  }
}

function limitsOf(band) {
  return `${trim(band.low)} to ${trim(band.high)}`;
}

/** All panels, what they share, and the controls. */
class Watch {
  constructor(data) {
    this.data = data;
    this.stream = STREAMS.train;
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.speed = SPEED.usual;
    this.due = 0;
    this.visible = true;
    this.use(data.settings);
    this.panels = data.panels.map((band, i) => new Panel(this, band, i + 1));
    byId("panels").append(...this.panels.map((panel) => panel.element));
    new IntersectionObserver(([entry]) => (this.visible = entry.isIntersecting)).observe(byId("panels"));
    this.connect();
    this.open();
    requestAnimationFrame((now) => this.frame(now, now));
  }

  use(settings) {
    const { grid, states, seed } = this.data.settings;
    this.settings = settings;
    this.noise = noiseRatio(settings);
    this.own = settings.grid === grid && settings.states === states && settings.seed === seed;
  }

  /** Rows of the dataset, where the settings are its own and it has the band. */
  sampleOf(band) {
    return this.own ? this.data.figures[band.name]?.sample : undefined;
  }

  rowOf(band, candidate) {
    const sample = this.sampleOf(band), i = sample ? sample.candidates.indexOf(String(candidate)) : -1;
    return i < 0 ? null : sample.numbers[i];
  }

  /** A candidate's first grid and the gzip length of its first ten, without keeping the page from drawing. */
  async score(candidate) {
    const { settings } = this, grids = [];
    let begun = performance.now();
    for (const cells of trajectory(settings, this.stream, candidate, scoredGrids(settings))) {
      if (cells) grids.push(cells);
      if (performance.now() - begun < SLICE) continue;
      await new Promise((go) => setTimeout(go));
      begun = performance.now();
    }
    return { first: grids[0], length: gzipLength(scoredBytes(grids.map((cells) => patchTokens(settings, cells)))) };
  }

  frame(now, before) {
    if (this.playing && this.visible) {
      this.due = Math.min(this.due + ((now - before) / 1000) * this.speed, 4); // no rush after a pause
      const steps = Math.floor(this.due + 1e-3);
      this.due -= steps;
      if (steps > 0) this.advance(steps);
    }
    requestAnimationFrame((next) => this.frame(next, now));
  }

  advance(steps = 1) {
    for (const panel of this.panels) {
      for (let i = 0; i < steps; i++) panel.advance();
      panel.draw();
    }
  }

  // -------------------------------------------------------------------------------------------------- controls

  connect() {
    const option = (value) => make("option", { value }, String(value));
    byId("states").append(...Object.keys(this.data.choices.states).map(option));
    const sides = this.data.choices.grids;
    byId("grid").append(...sides.map((side) => make("option", { value: side }, `${side} × ${side}`)));
    const on = (id, kind, act) => byId(id).addEventListener(kind, act);
    on("play", "click", () => this.play(!this.playing));
    on("step", "click", () => this.once());
    on("again", "click", () => this.panels.forEach((panel) => panel.candidate !== undefined && panel.restart()));
    on("others", "click", () => this.others());
    on("speed", "input", () => this.pace(Number(byId("speed").value)));
    on("speed", "change", () => this.remember());
    on("states", "change", () => this.turnTo({ states: Number(byId("states").value) }));
    on("grid", "change", () => this.turnTo({ grid: Number(byId("grid").value) }));
    on("seed", "change", () => this.reseed(byId("seed").value.trim()));
    on("link", "click", () => this.copy());
    on("reset", "click", () => this.turnTo(this.data.settings));
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("hashchange", () => location.hash.slice(1) !== this.link && this.open());
    this.play(this.playing);
  }

  key(event) {
    const { target, key } = event, free = target === document.body || target.closest("#watch");
    if (!free || target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.repeat && key !== "ArrowRight") return;
    if (key === " " && !target.matches("button")) this.play(!this.playing);
    else if (key === "ArrowRight") this.once();
    else if (key === "0") byId("again").click();
    else if (key === "r" || key === "R") this.others();
    else if (this.panels[Number(key) - 1]) this.panels[Number(key) - 1].another();
    else return;
    event.preventDefault();
  }

  play(playing) {
    this.playing = playing;
    byId("play").replaceChildren(playing ? "Pause " : "Play ", make("kbd", {}, "Space"));
    byId("play").setAttribute("aria-pressed", String(playing));
  }

  once() {
    this.play(false);
    this.advance();
  }

  others() {
    this.panels.forEach((panel) => panel.another());
  }

  pace(speed) {
    this.speed = Math.max(SPEED.least, Math.min(SPEED.most, Math.round(speed) || SPEED.usual));
    byId("speed").value = this.speed;
    byId("speed-out").textContent = `${this.speed} a second`;
  }

  reseed(text) {
    if (/^[0-9]{1,10}$/.test(text) && Number(text) < 2 ** 32) return this.turnTo({ seed: Number(text) });
    this.say(`Seed ${text} is not possible: use 0 to 4294967295.`);
    byId("seed").value = this.settings.seed;
  }

  /** Other settings, with other rules. */
  turnTo({ grid = this.settings.grid, states = this.settings.states, seed = this.settings.seed }) {
    this.use(changed(this.data, this.data.settings, { grid, states, seed }));
    this.showSettings();
    this.others();
  }

  showSettings() {
    const { states, grid, seed } = this.settings;
    byId("states").value = states;
    byId("grid").value = grid;
    byId("seed").value = seed;
    byId("reset").disabled = this.own;
    const noise = `Pure noise scores ${this.noise.toFixed(3)} here.`;
    const whose = this.own ? "The dataset’s own settings." : "Not the dataset’s settings: what it could have been.";
    this.say(`${whose} ${noise}`);
  }

  say(words) {
    byId("settings-note").textContent = words;
  }

  // ------------------------------------------------------------------------------------------------------ link

  /** Puts what is shown into the address, so that a copy of it shows the same. */
  remember() {
    if (this.panels?.some((panel) => panel.candidate === undefined)) return;
    const { states, grid, seed } = this.settings;
    const shown = new URLSearchParams({ seed, states, grid, speed: this.speed });
    for (const panel of this.panels) shown.set(panel.band.name, panel.candidate);
    this.link = String(shown);
    history.replaceState(null, "", `#${this.link}`);
  }

  /** Turns to what the address says; what it does not say, or says wrongly, is the dataset's own or drawn. */
  open() {
    const said = new URLSearchParams(location.hash.slice(1)), { settings, choices } = this.data;
    const number = (name, allowed) => {
      const text = said.get(name), fits = /^[0-9]{1,10}$/.test(text || "") && allowed(Number(text));
      return fits ? Number(text) : settings[name];
    };
    this.use(changed(this.data, settings, {
      states: number("states", (n) => n in choices.states),
      grid: number("grid", (n) => choices.grids.includes(n)),
      seed: number("seed", (n) => n < 2 ** 32),
    }));
    this.showSettings();
    for (const panel of this.panels) {
      const text = said.get(panel.band.name) || "";
      if (/^[0-9]{1,20}$/.test(text) && BigInt(text) < 2n ** 64n) panel.show(BigInt(text));
      else panel.another();
    }
    this.pace(Number(said.get("speed")));
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(location.href);
      this.say("The link is copied: it shows these rules.");
    } catch { // a browser may refuse, above all for a file
      this.say("The browser does not let a page copy: the link is in the address bar.");
    }
  }
}
