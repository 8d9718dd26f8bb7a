// What readers by keyboard or by ear need and the theme lacks: names of its parts, and a focus for what scrolls.
function mend() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  document.querySelectorAll("nav.md-code__nav").forEach((nav, number) => {
    nav.setAttribute("aria-label", `Code ${number + 1}`);
  });
  for (const part of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code, .output")) {
    part.tabIndex = part.scrollWidth > part.clientWidth ? 0 : -1;
  }
}
addEventListener("load", () => {
  mend();
  new MutationObserver(mend).observe(document.querySelector(".md-content"), { childList: true, subtree: true });
});
addEventListener("resize", mend);
