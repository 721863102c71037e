// Controls of the whole page: links between sections, and light or dark.

import { byId } from "./elements.js";

/** Links within the page scroll without changing the address, which stores the settings shown. */
export function connectLinks() {
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const section = byId(link.getAttribute("href").slice(1));
      section.scrollIntoView();
      section.focus({ preventScroll: true });
    });
  }
}

/** The button that turns the page light or dark; it calls onChange() afterwards. */
export function connectTheme(onChange) {
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
