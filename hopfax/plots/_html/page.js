// What a report does: it colours the diagram for the places of the sliders, says what a point is,
// and draws the run that is nearest to the point that was clicked.
"use strict";
window.hopfax = (() => {
  const state = { slice: 0, variable: 0, cell: -1, seed: 0, run: -1 };
  let data, models;

  const types = { f4: Float32Array, u2: Uint16Array, u1: Uint8Array, i1: Int8Array, i4: Int32Array };
  function unpacked(packed) {
    const text = atob(packed.bytes), bytes = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
    return new types[packed.type](bytes.buffer);
  }
  function unpackAll(found) {
    if (found && found.bytes !== undefined && found.type) return unpacked(found);
    if (Array.isArray(found)) return found.map(unpackAll);
    if (found && typeof found === "object")
      return Object.fromEntries(Object.entries(found).map(([k, v]) => [k, unpackAll(v)]));
    return found;
  }
  const byId = (name) => document.getElementById(name);
  const number = (x) => (Number.isFinite(x) ? String(+x.toPrecision(5)) : "none");
  const column = (name) => models.cells.data[name];

  // The places of the cells, in rows along x
  function placed() {
    if (data.kind === "cloud") return { ...data.points, left: [], right: [], bottom: [], top: [] };
    const { across, up, x, y } = data.borders, found = { left: [], right: [], bottom: [], top: [], x: [], y: [] };
    for (let row = 0; row < y.length; row++)
      for (let k = 0; k < x.length; k++) {
        found.left.push(Math.min(across[k], across[k + 1]));
        found.right.push(Math.max(across[k], across[k + 1]));
        found.bottom.push(Math.min(up[row], up[row + 1]));
        found.top.push(Math.max(up[row], up[row + 1]));
        found.x.push(x[k]);
        found.y.push(y[row]);
      }
    return found;
  }

  // Colours

  function shade(variable, value) {
    if (variable.words) return variable.colours[value] || "#FFFFFF";
    const [low, high] = variable.range, share = (value - low) / (high - low || 1);
    const place = Math.round(Math.min(Math.max(share, 0), 1) * (data.palette.length - 1));
    return data.palette[place];
  }
  function coloured(variable) {
    const size = data.cells, first = state.slice * size, fill = new Array(size);
    const alpha = new Float64Array(size);
    for (let k = 0; k < size; k++) {
      const why = variable.why[first + k];
      // what was not run is not painted: the hatched ground shows
      alpha[k] = why === 2 ? 0 : data.kind === "axis" && why === 0 ? 0.55 : 1;
      fill[k] = why === 1 ? data.failed : why === 0 ? shade(variable, variable.values[first + k]) : "#FFFFFF";
    }
    return { fill, alpha };
  }
  // Over one axis the bands are regimes where there are some, and the chosen output is the curve.
  function bands() {
    const named = data.variables.find((variable) => variable.name === "regime");
    return named || data.variables[state.variable];
  }

  function paint() {
    const variable = data.kind === "axis" ? bands() : data.variables[state.variable];
    const colours = coloured(variable);
    if (data.kind === "axis") {
      // without regimes the ground is plain, but where points failed or have not been run
      if (!variable.words) colours.fill = colours.fill.map((c, k) => (whyOf(variable, k) === 1 ? c : "#FFFFFF"));
      if (!variable.words) colours.alpha = colours.alpha.map((a, k) => (whyOf(variable, k) === 2 ? 0 : 1));
      if (!column("x").length) models.cells.data = { ...models.cells.data, ...placed(), ...colours };
      curve(colours);
    }
    models.cells.data = { ...models.cells.data, ...(column("x").length ? {} : placed()), ...colours };
    const lines = data.lines[state.slice].filter((l) => !l.of || l.of === data.variables[state.variable].name);
    const columns = { xs: [], ys: [], colour: [], dash: [], width: [], text: [] };
    for (const line of lines) {
      columns.xs.push(Array.from(line.x));
      // over one axis a line that holds for any output goes through the whole height
      const upright = data.kind === "axis" && !line.of;
      columns.ys.push(Array.from(line.y, (y) => (upright ? state.height[y > 0 ? 1 : 0] : y)));
      for (const name of ["colour", "dash", "width", "text"]) columns[name].push(line[name]);
    }
    models.theory.data = columns;
    byId("legend").innerHTML = legend(variable);
    byId("theory").innerHTML = theoryLegend(lines);
  }
  const whyOf = (variable, k) => variable.why[state.slice * data.cells + k];

  function curve(colours) {
    const variable = data.variables[state.variable], size = data.cells;
    const first = state.slice * size, found = { x: [], y: [], low: [], high: [] };
    for (let k = 0; k < size; k++) {
      const at = first + k, y = variable.values[at];
      if (variable.why[at] !== 0) continue;
      const error = variable.error ? variable.error[at] : NaN;
      found.x.push(column("x")[k]);
      found.y.push(y);
      found.low.push(Number.isFinite(error) ? y - error : y);
      found.high.push(Number.isFinite(error) ? y + error : y);
    }
    models.values.data = found;
    const all = found.low.concat(found.high).filter(Number.isFinite);
    let low = Math.min(...all, 0), high = Math.max(...all);
    if (!all.length) [low, high] = [0, 1];
    const room = 0.07 * (high - low || 1);
    const range = models.diagram.y_range;
    state.height = [low - room, high + room];
    range.setv({ start: low - room, end: high + room });
    colours.bottom = new Float64Array(size).fill(low - room);
    colours.top = new Float64Array(size).fill(high + room);
    colours.y = Array.from({ length: size }, (_, k) => variable.values[first + k]);
    models.diagram.left.forEach((axis) => (axis.axis_label = variable.plain));
  }

  // Legends

  const swatch = (colour) => `<i class="fill" style="background:${colour}"></i>`;
  function legend(variable) {
    const size = data.cells, first = state.slice * size, counts = {}, gaps = [0, 0, 0, 0];
    for (let k = first; k < first + size; k++) {
      gaps[variable.why[k]]++;
      if (variable.why[k] === 0) counts[variable.values[k]] = (counts[variable.values[k]] || 0) + 1;
    }
    const parts = [];
    if (variable.words) {
      for (const [code, word] of Object.entries(variable.words))
        if (counts[code]) parts.push(`<span>${swatch(variable.colours[code])}<b>${word} (${counts[code]})</b></span>`);
    } else if (data.kind !== "axis") {
      const stops = data.palette.filter((_, k) => k % 16 === 0 || k === data.palette.length - 1);
      parts.push(`<span>${number(variable.range[0])}<i class="bar" style="background:linear-gradient(90deg,` +
        `${stops.join(",")})"></i>${number(variable.range[1])}<b>${variable.short}</b></span>`);
    }
    const looks = ["", swatch(data.failed), '<i class="fill hatched"></i>', swatch("#FFFFFF")];
    for (const code of [1, 2, 3])
      if (gaps[code]) parts.push(`<span>${looks[code]}${data.gaps[code]} (${gaps[code]})</span>`);
    return parts.join("");
  }
  const dashes = { solid: "", dashed: "6 4", dotted: "2 3", dashdot: "7 3 2 3" };
  const stroke = (line) => `<svg width="30" height="10"><line x1="0" y1="5" x2="30" y2="5" stroke="${line.colour}" ` +
    `stroke-width="${line.width}" stroke-dasharray="${dashes[line.dash]}"/></svg>`;
  function theoryLegend(lines) {
    const named = lines.filter((line) => line.text);
    return (named.length ? "<span>Theory:</span>" : "") +
      named.map((line) => `<span>${stroke(line)}<b>${line.text}</b></span>`).join("");
  }

  // What a point is, in words

  function said(cell, briefly = false) {
    const at = state.slice * data.cells + cell, rows = [];
    rows.push([data.x.label, data.x.words[cell % data.x.words.length]]);
    if (data.y) rows.push([data.y.label, data.y.words[data.kind === "cloud" ? cell : Math.floor(cell / data.x.words.length)]]);
    data.sliders.forEach((slider, k) => rows.push([slider.label, slider.values[places()[k]]]));
    for (const [label, values] of Object.entries(data.others)) rows.push([label, number(values[cell])]);
    for (const variable of data.variables) {
      if (variable.name === "status") continue;
      const why = variable.why[at];
      if (why === 1 || why === 2) continue;
      let text = why ? data.gaps[why] : variable.words ? variable.words[variable.values[at]] : number(variable.values[at]);
      if (variable.error && Number.isFinite(variable.error[at])) text += ` ± ${number(variable.error[at])}`;
      rows.push([briefly ? variable.short : variable.label, text]);
    }
    const [name, meaning, fine] = data.statuses[data.status[at]] || [String(data.status[at]), "", false];
    rows.push(["status", fine ? name : `<span class="bad">${name}</span>: ${meaning}`]);
    return `<table>${rows.map(([a, b]) => `<tr><td>${a}</td><td>${b}</td></tr>`).join("")}</table>`;
  }
  function hovered(info) {
    const tip = byId("tip"), found = info.index.indices;
    if (!found || !found.length) {
      tip.hidden = true;
      return;
    }
    tip.innerHTML = said(found[0], true);
    tip.hidden = false;
    const width = byId("diagram").clientWidth, { sx, sy } = info.geometry;
    const left = sx + 16 + tip.offsetWidth > width ? sx - tip.offsetWidth - 12 : sx + 16;
    tip.style.left = `${Math.max(left, 0)}px`;
    tip.style.top = `${sy + 12}px`;
  }

  // The run beside it

  const places = () => {
    const found = [];
    let rest = state.slice;
    for (let k = data.sliders.length - 1; k >= 0; k--) {
      const size = data.sliders[k].values.length;
      found[k] = rest % size;
      rest = Math.floor(rest / size);
    }
    return found;
  };
  function spot(cell) {
    if (data.kind === "cloud") return [data.spots.x[cell], data.spots.y[cell]];
    const across = data.x.words.length, up = data.y ? data.y.words.length : 1;
    return [(cell % across) / Math.max(across - 1, 1), Math.floor(cell / across) / Math.max(up - 1, 1)];
  }
  function nearest(cell) {
    const runs = data.runs, [x, y] = spot(cell), here = places();
    let best = -1, least = Infinity;
    for (let k = 0; k < runs.count; k++) {
      if (runs.seed[k] !== state.seed) continue;
      let far = (runs.spot[2 * k] - x) ** 2 + (runs.spot[2 * k + 1] - y) ** 2;
      here.forEach((place, s) => {
        const size = Math.max(data.sliders[s].values.length - 1, 1);
        far += 4 * ((runs.slider[k * here.length + s] - place) / size) ** 2;
      });
      if (far < least) [best, least] = [k, far];
    }
    return best;
  }
  function chose(indices) {
    if (!indices.length) return;
    state.cell = indices[0];
    follow();
  }
  function follow() {
    if (state.cell < 0) return;
    byId("point").innerHTML = said(state.cell);
    const x = column("x")[state.cell], y = column("y")[state.cell];
    models.chosen.data = { x: [x], y: [Number.isFinite(y) ? y : 0] };
    if (!data.runs) return;
    state.run = nearest(state.cell);
    if (state.run < 0) {
      byId("which").textContent = "No point near this one was simulated again.";
      return;
    }
    const runs = data.runs, cell = runs.cell[state.run];
    models.nearest.data = cell < 0 ? { x: [], y: [] } : { x: [column("x")[cell]], y: [column("y")[cell]] };
    const exact = runs.exact[state.run] === state.slice * data.cells + state.cell;
    const intro = exact ? "The run of this point" : "The run of the nearest point that was simulated again (ring)";
    const [name, , fine] = data.statuses[runs.status[state.run]] || [runs.status[state.run], "", false];
    const outcome = runs.regime ? `; its regime is ${data.regimes[runs.regime[state.run]] || "none"}` : "";
    byId("which").innerHTML = `${intro}: ${runs.words[state.run]}${outcome}` +
      (fine ? "." : `; <span class="bad">${name}</span>.`);
    draw(runs, state.run);
  }
  function draw(runs, k) {
    const from = runs.start[k], to = runs.start[k + 1], width = runs.width;
    const time = Array.from(runs.time.subarray(from, to));
    const keys = [];
    for (const name of ["overlap", "saliency"]) {
      if (!runs[name] || !models[name]) continue;
      const columns = { xs: [], ys: [], colour: [], dash: [], width: [], text: [] };
      const low = runs[name].low[k], high = runs[name].high[k];
      for (let line = 0; line < width; line++) {
        const mu = runs.memories[k * width + line];
        if (mu < 0) continue;
        const look = data.looks[mu % data.looks.length];
        columns.xs.push(time);
        columns.ys.push(time.map((_, t) => {
          const step = runs[name].values[(from + t) * width + line];
          return step === 65535 ? NaN : low + (step / 65534) * (high - low);
        }));
        columns.colour.push(look.colour);
        columns.dash.push(look.dash);
        columns.width.push(1.7);
        columns.text.push(`memory ${mu}`);
        if (name === "overlap") keys.push({ colour: look.colour, dash: look.dash, width: 2.4, text: `memory ${mu}` });
      }
      models[name].data = columns;
    }
    byId("memories").innerHTML = theoryLegend(keys).replace("<span>Theory:</span>", "");
  }

  // Images

  function film() {
    if (!data.film) return;
    const { rows, columns, times, frames, low, high } = data.film;
    times.forEach((text, k) => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [columns, rows];
      const pen = canvas.getContext("2d"), image = pen.createImageData(columns, rows);
      for (let p = 0; p < rows * columns; p++) {
        const grey = Math.round(255 * (frames[k * rows * columns + p] / 255));
        image.data.set([grey, grey, grey, 255], 4 * p);
      }
      pen.putImageData(image, 0, 0);
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      caption.textContent = text;
      figure.append(canvas, caption);
      byId("film").append(figure);
    });
  }

  function start(given) {
    models = given;
    data = unpackAll(JSON.parse(byId("data").textContent));
    film();
    document.documentElement.dataset.ready = "yes";
    if (!data.kind) {
      if (data.runs) draw(data.runs, 0);
      byId("choice")?.addEventListener("change", (event) => draw(data.runs, Number(event.target.value)));
      return;
    }
    byId("variable")?.addEventListener("change", (event) => {
      state.variable = Number(event.target.value);
      paint();
      follow();
    });
    const sliders = [...document.querySelectorAll("input.further")];
    for (const slider of sliders)
      slider.addEventListener("input", () => {
        state.slice = sliders.reduce((at, one, k) => at * data.sliders[k].values.length + Number(one.value), 0);
        sliders.forEach((one, k) => (byId(`slider${k}-value`).textContent = data.sliders[k].values[Number(one.value)]));
        paint();
        follow();
      });
    byId("seed")?.addEventListener("input", (event) => {
      state.seed = Number(event.target.value);
      byId("seed-value").textContent = data.runs.seeds[state.seed];
      follow();
    });
    byId("diagram").addEventListener("mouseleave", () => (byId("tip").hidden = true));
    paint();
    if (data.first >= 0) chose([data.first]);
  }
  return { start, hovered, chose, state };
})();
