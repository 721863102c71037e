// Running automata, one for each band: play, step, other rules, other settings, and a link to the current state.

import { byId, make } from "./elements.js";
import { Panel } from "./panel.js";

const SPEED = { least: 1, most: 60, usual: 8 };

/** All panels, their shared state, and the controls. */
export class LiveView {
  /** own: the dataset's source, as openSource returns it. */
  constructor(data, own) {
    this.data = data;
    this.ownSource = own;
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.speed = SPEED.usual;
    this.due = 0;
    this.visible = true;
    this.use(own);
    this.panels = data.panels.map((band, i) => new Panel(this, band, i + 1));
    byId("panels").append(...this.panels.map((panel) => panel.element));
    new IntersectionObserver(([entry]) => (this.visible = entry.isIntersecting)).observe(byId("panels"));
    this.connect();
    this.open();
    requestAnimationFrame((now) => this.frame(now, now));
  }

  /** Changes to another source, or to the dataset's if it has the same settings. */
  use(source) {
    const { values } = this.ownSource;
    this.own = Object.entries(source.values).every(([name, value]) => values[name] === value);
    this.source = this.own ? this.ownSource : source;
  }

  /** Rows of the dataset, if the settings are the dataset's and it has the band. */
  sampleOf(band) {
    return this.own ? this.data.figures[band.name]?.sample : undefined;
  }

  /** The number of the dataset's row of a candidate; null if the dataset or the page's list does not have it. */
  rowOf(band, candidate) {
    const sample = this.sampleOf(band), i = sample ? sample.candidates.indexOf(String(candidate)) : -1;
    return i < 0 ? null : sample.numbers[i];
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

  // ------------------------------------------------------------------------------------------------- controls

  connect() {
    const on = (id, kind, act) => byId(id).addEventListener(kind, act);
    for (const { name, label, options } of this.ownSource.controls) {
      const choices = options.map(([value, text]) => make("option", { value }, text));
      const select = make("select", { id: name, change: () => this.turnTo({ [name]: select.value }) }, choices);
      byId("controls").append(make("label", {}, `${label} `, select));
    }
    on("play", "click", () => this.play(!this.playing));
    on("step", "click", () => this.once());
    on("again", "click", () => this.panels.forEach((panel) => panel.candidate !== undefined && panel.restart()));
    on("others", "click", () => this.others());
    on("speed", "input", () => this.pace(Number(byId("speed").value)));
    on("speed", "change", () => this.remember());
    on("seed", "change", () => this.reseed(byId("seed").value.trim()));
    on("link", "click", () => this.copy());
    on("reset", "click", () => this.turnTo(this.ownSource.values));
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("hashchange", () => location.hash.slice(1) !== this.link && this.open());
    this.play(this.playing);
  }

  key(event) {
    const { target, key } = event, free = target === document.body || target.closest("#live");
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
    if (isSeed(text)) return this.turnTo({ seed: String(Number(text)) });
    this.say(`Seed ${text} is out of range: use 0 to 4294967295.`);
    byId("seed").value = this.source.values.seed;
    return undefined;
  }

  /** Changes settings and shows other rules. */
  turnTo(values) {
    this.use(this.source.changed(values));
    this.showSettings();
    this.others();
  }

  showSettings() {
    for (const [name, value] of Object.entries(this.source.values)) byId(name).value = value;
    byId("reset").disabled = this.own;
    const noise = `Pure noise scores ${this.source.noiseRatio.toFixed(3)} here.`;
    const whose = this.own ? "The dataset’s own settings." : "Not the dataset’s settings: what it could have been.";
    this.say(`${whose} ${noise}`);
  }

  say(words) {
    byId("settings-note").textContent = words;
  }

  // ----------------------------------------------------------------------------------------------------- link

  /** Stores the current state in the address, so that a copy of the address shows the same. */
  remember() {
    if (this.panels?.some((panel) => panel.candidate === undefined)) return;
    const shown = new URLSearchParams({ ...this.source.values, speed: this.speed });
    for (const panel of this.panels) shown.set(panel.band.name, panel.candidate);
    this.link = String(shown);
    history.replaceState(null, "", `#${this.link}`);
  }

  /** Restores the state of the address; missing or wrong values are the dataset's, or drawn at random. */
  open() {
    const given = new URLSearchParams(location.hash.slice(1)), values = { ...this.ownSource.values };
    for (const { name, options } of this.ownSource.controls) {
      if (options.some(([value]) => value === given.get(name))) values[name] = given.get(name);
    }
    if (isSeed(given.get("seed"))) values.seed = String(Number(given.get("seed")));
    this.use(this.ownSource.changed(values));
    this.showSettings();
    for (const panel of this.panels) {
      const text = given.get(panel.band.name) || "";
      if (/^[0-9]{1,20}$/.test(text) && BigInt(text) < 2n ** 64n) panel.show(BigInt(text));
      else panel.another();
    }
    this.pace(Number(given.get("speed")));
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

function isSeed(text) {
  return /^[0-9]{1,10}$/.test(text || "") && Number(text) < 2 ** 32;
}
