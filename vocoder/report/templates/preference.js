// A blind comparison of two systems: pairs in random order, names hidden until the end.

class PreferenceTest {
  constructor(report, section) {
    Object.assign(this, { report, section });
    this.key = `vocoder-preference:${report.key}`;
    this.stage = section.querySelector("#stage");
    this.form = section.querySelector("form");
    this.message = section.querySelector("#preference-message");
    this.stage.addEventListener("keydown", (event) => this.handleKey(event));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.fillChoices();
    const session = stored(this.key);
    if (session?.systems?.every((name) => report.systems.some((system) => system.name === name))) this.offer(session);
  }

  fillChoices() {
    const { systems } = this.report;
    const order = { model: 0, folder: 1, baseline: 2, original: 3 };
    const ranked = [...systems].sort((a, b) => order[a.kind] - order[b.kind]);
    const { one, two, pairs } = this.form.elements;
    for (const control of [one, two]) control.append(...systems.map(({ name }) => element("option", { value: name }, name)));
    one.value = ranked[0].name;
    two.value = ranked[1].name;
    const limit = () => {
      pairs.max = this.common(one.value, two.value).length;
      pairs.value = pairs.max;
    };
    one.addEventListener("change", limit);
    two.addEventListener("change", limit);
    limit();
  }

  common(one, two) {
    const { utterances } = this.report;
    return utterances.map((_, index) => index).filter((index) => [one, two].every((name) => name in utterances[index].values));
  }

  begin() {
    const { one, two, pairs, listener } = this.form.elements;
    const systems = [one.value, two.value];
    if (one.value === two.value) return this.say("Choose two different systems.");
    const chosen = shuffled(this.common(...systems)).slice(0, Number(pairs.value));
    if (!chosen.length) return this.say("There is no utterance that both systems have.");
    const trials = chosen.map((utterance) => ({ utterance, order: shuffled(systems) }));
    this.run({ systems, trials, answers: [], listener: listener.value, started: new Date().toISOString() });
  }

  say(text) {
    this.message.textContent = text;
  }

  // What an earlier visit to this page left.
  offer(session) {
    const done = session.answers.length;
    const finished = done === session.trials.length;
    const text = finished ? "Show the last result" : `Continue at pair ${done + 1} of ${session.trials.length}`;
    this.stage.replaceChildren(element("button", { type: "button", onclick: () => this.run(session) }, text));
  }

  run(session) {
    this.say("");
    this.session = session;
    if (session.answers.length === session.trials.length) this.showResult();
    else this.showTrial();
  }

  showTrial() {
    const { trials, answers } = this.session;
    const { utterance, order } = trials[answers.length];
    const media = readJson(`media-${utterance}`);
    const versions = order.map((name, index) => {
      const { audio, loudness } = media.versions[name];
      return { label: "AB"[index], uri: audio, loudness };
    });
    this.shownAt = performance.now();
    soundingTransport?.pause();
    this.transport = new Transport(versions, { ...media, equal: true });
    activeTransport = this.transport;
    const heading = element("h3", { tabindex: -1 }, `Pair ${answers.length + 1} of ${trials.length}`);
    const choices = [["A", "A is better"], ["none", "No preference"], ["B", "B is better"]].map(([choice, text]) =>
      element("button", { type: "button", class: "choice", "data-choice": choice, onclick: () => this.answer(choice) }, text));
    this.stage.replaceChildren(heading, this.transport.root,
      element("div", { class: "choices", role: "group", "aria-label": "Which is better?" }, ...choices),
      element("p", { class: "hint" }, "Keys here: 1 and 2 switch, Space plays, A, B and N answer."));
    this.form.hidden = true;
    heading.focus();
  }

  handleKey(event) {
    if (!this.transport || event.ctrlKey || event.altKey || event.metaKey) return;
    const choice = { a: "A", b: "B", n: "none" }[event.key.toLowerCase()];
    if (choice && !event.repeat) this.answer(choice);
    else if (this.transport.handleKey(event)) event.stopPropagation();
  }

  answer(choice) {
    const { trials, answers } = this.session;
    const { utterance, order } = trials[answers.length];
    const preferred = choice === "none" ? null : order["AB".indexOf(choice)];
    const seconds = Number(((performance.now() - this.shownAt) / 1000).toFixed(1));
    answers.push({ utterance: this.report.utterances[utterance].id, a: order[0], b: order[1], choice, preferred, seconds });
    this.transport.pause();
    this.transport = null;
    if (answers.length === trials.length) this.session.finished = new Date().toISOString();
    store(this.key, this.session);
    this.run(this.session);
  }

  result() {
    const { systems, answers, listener, started, finished } = this.session;
    const wins = systems.map((name) => answers.filter((answer) => answer.preferred === name).length);
    const counts = Object.fromEntries(systems.map((name, index) => [name, wins[index]]));
    const ties = answers.length - wins[0] - wins[1];
    const pValue = binomialTest(wins[0], wins[0] + wins[1]);
    return { format: 1, listener, systems, started, finished, answers, preferred: counts, no_preference: ties, p_value: pValue };
  }

  showResult() {
    const result = this.result();
    const rows = result.systems.map((name) => [name, result.preferred[name]]).concat([["no preference", result.no_preference]]);
    const body = rows.map(([name, number]) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, String(number))));
    const table = element("table", {},
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Preferred"), element("th", { scope: "col" }, "Pairs"))),
      element("tbody", {}, ...body));
    const heading = element("h3", { tabindex: -1 }, "Result");
    this.stage.replaceChildren(heading, element("div", { class: "scroll" }, table),
      element("p", { class: "verdict" }, verdict(result)),
      element("div", { class: "choices" },
        element("button", { type: "button", onclick: () => this.download() }, "Download answers (JSON)"),
        element("button", { type: "button", onclick: () => this.restart() }, "New comparison")));
    this.form.hidden = true;
    heading.focus();
  }

  download() {
    const content = new Blob([`${JSON.stringify(this.result(), null, 2)}\n`], { type: "application/json" });
    const address = URL.createObjectURL(content);
    element("a", { href: address, download: "preferences.json" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  restart() {
    this.stage.replaceChildren();
    this.form.hidden = false;
    this.form.elements.one.focus();
  }
}

function verdict({ p_value: pValue, preferred, systems }) {
  const decided = systems.reduce((total, name) => total + preferred[name], 0);
  const shown = pValue < 0.001 ? "p < 0.001" : `p = ${pValue.toFixed(3)}`;
  return `Two-sided exact binomial test of ${count(decided, "decided pair")}: ${shown}. ` +
    (pValue < 0.05 ? "A preference this clear is unlikely to be chance." : "This may be chance.");
}
