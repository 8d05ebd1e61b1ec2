"use strict";
// Nodes, numbers and stored settings. Text is only ever set as text: no id or name can become markup.

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function labelled(text, control) {
  return element("label", { class: "field" }, element("span", {}, text), control);
}

function checkbox(text, checked, onchange) {
  const box = element("input", { type: "checkbox", checked, onchange: () => onchange(box.checked) });
  return { box, label: element("label", { class: "check" }, box, text) };
}

function formatNumber(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function withUnit(value, measure) {
  const text = formatNumber(value, measure.digits);
  return measure.unit && text !== "–" ? `${text} ${measure.unit}` : text;
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function readJson(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// Browsers may refuse storage to a page from disk; then settings last as long as the page.
const memory = new Map();

function store(key, value) {
  memory.set(key, value);
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // in memory only
  }
}

function stored(key) {
  try {
    const text = localStorage.getItem(key);
    if (text !== null) return JSON.parse(text);
  } catch {
    // in memory only
  }
  return memory.get(key) ?? null;
}
