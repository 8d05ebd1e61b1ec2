// Statistics of the blind comparison.

// Two-sided exact binomial test of a fair coin. Its distribution is symmetric: the p-value is twice the smaller tail.
function binomialTest(successes, trials) {
  if (trials === 0) return 1;
  const tail = Math.min(successes, trials - successes);
  let logTerm = -trials * Math.log(2); // of no success; later ones by their ratio, in logarithms against underflow
  const terms = [logTerm];
  for (let k = 0; k < tail; k++) {
    logTerm += Math.log((trials - k) / (k + 1));
    terms.push(logTerm);
  }
  const largest = Math.max(...terms);
  const sum = terms.reduce((total, term) => total + Math.exp(term - largest), 0);
  return Math.min(1, 2 * sum * Math.exp(largest));
}

// A copy in random order (Fisher and Yates).
function shuffled(items, random = randomBelow) {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random(last + 1);
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

function randomBelow(limit) {
  const word = new Uint32Array(1);
  const whole = Math.floor(2 ** 32 / limit) * limit; // above it, a remainder would favour low numbers
  do crypto.getRandomValues(word);
  while (word[0] >= whole);
  return word[0] % limit;
}
