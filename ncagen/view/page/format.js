// Numbers as text.

export function whole(n) {
  return n.toLocaleString("en-US");
}

export function percent(part, of) {
  return of ? `${((100 * part) / of).toFixed(1)} %` : "–";
}

/** Four decimals at most, without zeros at the end. */
export function trim(n) {
  return String(Number(n.toFixed(4)));
}

/** An integer as superscript digits. */
export function superscript(n) {
  return String(n).replace(/[-\d]/g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
}
