// The charts: the histogram of ratios, counts as bars, rank and frequency, bands on a scale. SVG, no libraries.
"use strict";

/** A drawing that scales with the page. Width and height are in its own units. */
function drawing(width, height, label, ...children) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...children);
}

const textAt = (x, y, words, attributes = {}) => shape("text", { x, y, ...attributes }, words);
const lineFrom = (x1, y1, x2, y2, kind) => shape("line", { x1, y1, x2, y2, class: kind });

/** A drawing made anew when its place gets wider or narrower, so that its text keeps its size. */
function fitted(place, draw) {
  let width = 0;
  const update = () => {
    const now = Math.round(place.clientWidth);
    if (!now || now === width) return;
    width = now;
    place.querySelector("svg")?.remove();
    place.prepend(draw(width));
  };
  new ResizeObserver(update).observe(place);
  update();
}

/** Rows by ratio, a hundredth a bar, with every band's limits and what pure noise scores. */
function drawHistogram(place, data, noise) {
  const bands = data.panels, figures = data.figures;
  const drawn = Object.entries(figures).map(([name, f]) => ({ tone: bandTone(bands.find((b) => b.name === name)), f }));
  const last = Math.max(...drawn.map(({ f }) => f.histogram.length), Math.ceil(noise * 100) + 3);
  const heights = Array.from({ length: last }, (_, i) => drawn.map(({ f }) => (f.histogram[i] || 0) / f.looked));
  const most = Math.max(...heights.flat());
  const looked = Object.entries(figures).map(([name, f]) => `${whole(f.looked)} of ${whole(f.rows)} ${name} rows`);
  fitted(place, (width) => {
    const height = 220, bottom = 172, top = 26, x = (ratio) => (ratio * 100 * width) / last;
    const picture = drawing(width, height, `Histogram of gzip ratios; pure noise scores ${noise.toFixed(3)}`);
    const wide = width > 520;
    for (const [name, [low, high]] of Object.entries(data.named)) {
      const right = Math.min(high, last / 100);
      picture.append(
        shape("rect", { x: x(low), y: top, width: x(right) - x(low), height: bottom - top, class: `zone ${name}` }),
        textAt((x(low) + x(right)) / 2, 14, name, { "text-anchor": "middle", class: "label" }),
      );
    }
    heights.forEach((shares, i) => {
      let y = bottom;
      shares.forEach((share, k) => {
        const tall = (share / most) * (bottom - top - 8);
        if (!tall) return;
        y -= tall;
        const title = shape("title", {}, `ratio ${(i / 100).toFixed(2)}: ${whole(drawn[k].f.histogram[i])} rows`);
        const box = { x: x(i / 100) + 0.5, y, width: Math.max(1, x(0.01) - 1), height: tall };
        picture.append(shape("rect", { ...box, class: `bar ${drawn[k].tone}` }, title));
      });
    });
    picture.append(lineFrom(0, bottom, width, bottom, "axis"));
    for (let i = 0; i < last; i += wide ? 5 : 10) {
      picture.append(textAt(x(i / 100), bottom + 18, (i / 100).toFixed(wide ? 2 : 1), {
        "text-anchor": i ? "middle" : "start", class: "tick",
      }));
    }
    picture.append(
      lineFrom(x(noise), top, x(noise), bottom + 26, "noise"),
      textAt(x(noise), bottom + 42, `pure noise ${noise.toFixed(3)}`, { "text-anchor": "end", class: "label" }),
      textAt(0, bottom + 42, "gzip ratio", { class: "label" }),
    );
    return picture;
  });
  place.append(make("figcaption", {},
    `Share of rows by ratio, a hundredth a bar: ${looked.join(", ")} looked at, spread evenly.`));
}

/** Rank and frequency of patch tokens on logarithmic axes, with the line of Zipf's law. */
function drawZipf(place, data) {
  const curves = Object.entries(data.figures).map(([name, f]) => {
    return { name, f, tone: bandTone(data.panels.find((b) => b.name === name)) };
  });
  const far = Math.max(10, ...curves.map(({ f }) => f.distinct));
  // The curves are shares, so that bands of other sizes compare. Zipf's line has the sum 1 over the ranks it spans.
  let harmonic = 0;
  for (let rank = 1; rank <= far; rank++) harmonic += 1 / rank;
  const share = (f, count) => count / f.patches;
  const least = Math.min(1 / harmonic / far, ...curves.map(({ f }) => share(f, f.frequencies.at(-1)[1])));
  const most = Math.max(1 / harmonic, ...curves.map(({ f }) => share(f, f.frequencies[0][1])));
  fitted(place, (width) => {
    const left = 52, right = 22, top = 26, height = 300, bottom = height - 44;
    const x = (rank) => left + ((width - left - right) * Math.log(rank)) / Math.log(far);
    const y = (value) => bottom - ((bottom - top) * Math.log(value / least)) / Math.log(most / least);
    const picture = drawing(width, height, "Rank and frequency of tokens, with the line of Zipf's law");
    for (let rank = 1; rank <= far; rank *= 10) {
      picture.append(lineFrom(x(rank), top, x(rank), bottom, "rule"),
        textAt(x(rank), bottom + 18, whole(rank), { "text-anchor": "middle", class: "tick" }));
    }
    for (let power = Math.ceil(Math.log10(least)); power <= Math.floor(Math.log10(most)); power++) {
      const value = 10 ** power, words = power >= -6 ? `${trim(100 * value)} %` : `10${superscript(power)}`;
      picture.append(lineFrom(left, y(value), width - right, y(value), "rule"),
        textAt(left - 8, y(value) + 4, words, { "text-anchor": "end", class: "tick" }));
    }
    picture.append(shape("path", {
      d: `M${x(1)},${y(1 / harmonic)}L${x(far)},${y(1 / harmonic / far)}`, class: "zipf",
    }));
    for (const { f, tone } of curves) {
      const points = f.frequencies.map(([rank, count]) => `${x(rank).toFixed(1)},${y(share(f, count)).toFixed(1)}`);
      picture.append(shape("path", { d: `M${points.join("L")}`, class: `curve ${tone}` }));
    }
    picture.append(textAt(width - right, height - 6, "rank of the token", { "text-anchor": "end", class: "label" }),
      textAt(0, 12, "share of all patches", { class: "label" }));
    return picture;
  });
  const key = curves.map(({ name, tone }) => make("span", { class: `key ${tone}` }, name));
  const counted = curves.map(({ name, f }) => `${whole(f.distinct)} of ${whole(data.manifest.vocabulary - 2)} ids in `
    + `${whole(f.patches)} ${name} patches`);
  place.append(make("figcaption", {}, ...key, make("span", { class: "key zipf" }, "Zipf: share ∝ 1 / rank"),
    make("div", {}, `Patches of the rows looked at: ${counted.join("; ")}. Delimiters are left out.`)));
}

function superscript(number) {
  return String(number).replace(/[-\d]/g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
}

/** A table: names of columns, and rows whose cells are text or elements. Numbers after the first columns. */
function table(names, lines, texts = 1) {
  const cell = (tag, i, content) => make(tag, { class: i < texts ? null : "number" }, content);
  return make("table", {},
    make("thead", {}, make("tr", {}, names.map((name, i) => {
      const head = cell("th", i, name);
      head.scope = "col";
      return head;
    }))),
    make("tbody", {}, lines.map((line) => make("tr", {}, line.map((content, i) => cell("td", i, content))))));
}

/** Shares of a whole as one bar; each is [share, kind, name]. */
function shareBar(shares) {
  const bar = make("div", { class: "shares", role: "img", "aria-label": shares.map(([share, , name]) => {
    return `${name} ${(100 * share).toFixed(1)} %`;
  }).join(", ") });
  for (const [share, kind, name] of shares) {
    const piece = make("i", { class: kind, title: `${name} ${(100 * share).toFixed(1)} %` });
    piece.style.width = `${100 * share}%`;
    bar.append(piece);
  }
  return bar;
}

/** The band that the paper found best for each kind of text, on the scale of ratios. */
function drawDomains(place, data) {
  const names = { web: "Web text", math: "Math", code: "Code" }, noise = 0.67;
  fitted(place, (width) => {
    const left = 84, right = 8, line = 46, top = 20, domains = Object.entries(data.domains);
    const height = top + line * domains.length + 24, x = (ratio) => left + ((width - left - right) * ratio) / 0.72;
    const picture = drawing(width, height, "Best band for each kind of text");
    for (const ratio of [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]) {
      picture.append(lineFrom(x(ratio), top - 6, x(ratio), height - 22, "rule"),
        textAt(x(ratio), height - 6, ratio.toFixed(1), { "text-anchor": "middle", class: "tick" }));
    }
    domains.forEach(([domain, band], i) => {
      const [low, high] = data.named[band], end = Math.min(high, noise), y = top + line * i;
      picture.append(
        textAt(0, y + 21, names[domain] || domain, { class: "name" }),
        shape("rect", { x: x(low), y, width: x(end) - x(low), height: 32, rx: 3, class: `bar ${band}` }),
        textAt(x(low) - 8, y + 20, `${band}, ${high < 1 ? `${low} to ${high}` : `from ${low}`}`,
          { "text-anchor": "end", class: "label halo" }),
      );
    });
    picture.append(lineFrom(x(noise), 2, x(noise), height - 22, "noise"),
      textAt(x(noise) - 6, 10, "pure noise", { "text-anchor": "end", class: "label" }));
    return picture;
  });
  place.append(make("figcaption", {}, "To order it: ", ...orderFlags(data)));
}

function orderFlags(data) {
  return Object.keys(data.domains).flatMap((domain, i) => [i ? ", " : "", make("code", {}, `--for ${domain}`)]);
}
