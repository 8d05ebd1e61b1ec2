// Starts the page.

const THEME = "vocoder-report-theme";

function startTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  const chosen = stored(THEME);
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  button.hidden = false;
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    store(THEME, document.documentElement.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}

const report = readJson("report-data");
startTheme(document.getElementById("theme"));
const utteranceList = new UtteranceList(report, document.getElementById("utterances"));
const preferenceSection = document.getElementById("preference");
const preferenceTest = preferenceSection ? new PreferenceTest(report, preferenceSection) : null;
document.addEventListener("keydown", (event) => {
  if (event.target === document.body) activeTransport?.handleKey(event);
});
