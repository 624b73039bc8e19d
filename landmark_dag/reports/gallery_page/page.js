"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("queries");
  const order = document.getElementById("order");
  const landmark = document.getElementById("landmark");
  const gain = (query) => (query.ap ? query.ap[query.ap.length - 1] - query.ap[0] : null);
  const last = (query) => (query.ap ? query.ap[query.ap.length - 1] : null);
  const orders = { gain: [gain, -1], loss: [gain, 1], best: [last, -1], worst: [last, 1], id: [() => 0, 1] };

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1);

  const thumbnail = (photo, description) => {
    if (!data.thumbnails[photo]) return element("span", "blank", "no picture");
    const image = element("img");
    image.alt = description;
    image.src = "data:image/webp;base64," + data.thumbnails[photo];
    return image;
  };

  const result = ([photo, reason, right, similarity], place) => {
    const item = element("li", ["retrieved", "same", "inserted"][reason]);
    const why = ["retrieved", "same landmark", "inserted"][reason];
    const words = [`rank ${place + 1}`, data.ids[photo], why];
    if (similarity !== null) words.push(`similarity ${similarity.toFixed(3)}`);
    if (right !== null) words.push(right ? "right" : "wrong");
    item.title = words.join(" · ");
    item.dataset.photo = photo;
    item.append(thumbnail(photo, words.join(", ")));
    if (right !== null) {
      item.classList.add(right ? "yes" : "no");
      const mark = element("b", "", right ? "✓" : "✕");
      mark.setAttribute("aria-hidden", "true");
      item.append(mark);
    }
    return item;
  };

  const list = (query, results, step) => {
    const row = element("div", "row");
    const label = element("div", "step", data.steps[step]);
    if (query.ap) {
      const score = element("strong", "", query.ap[step].toFixed(1));
      score.title = "average precision, percent";
      label.append(score);
    }
    const items = element("ol");
    items.setAttribute("aria-label", data.steps[step]);
    items.append(...results.map(result));
    row.append(label, results.length ? items : element("span", "empty", "nothing found"));
    return row;
  };

  const fill = (card) => {
    const query = data.queries[card.dataset.query];
    const about = element("div", "query");
    about.append(thumbnail(query.photo, `query ${query.id}`));
    about.append(element("h2", "", query.landmark));
    const vote = element("p", "", query.confidence === null ? "" : `vote confidence ${query.confidence.toFixed(2)}`);
    if (query.ap) {
      const badge = element("span", `gain ${gain(query) < 0 ? "down" : "up"}`, signed(gain(query)));
      badge.title = "AP after the last step minus AP after kNN";
      vote.append(badge);
    }
    about.append(vote);
    const id = element("p");
    id.append(element("code", "", query.id));
    about.append(id);
    if (!query.ap && data.judged) about.append(element("p", "", "no ground truth"));
    const lists = element("div", "lists");
    lists.tabIndex = 0;
    lists.setAttribute("role", "group");
    lists.setAttribute("aria-label", "lists after each step");
    lists.append(...query.rows.map((results, step) => list(query, results, step)));
    card.append(about, lists);
  };

  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        fill(entry.target);
      }
    },
    { rootMargin: "600px" },
  );

  const cards = data.queries.map((query, number) => {
    const card = element("article");
    card.dataset.query = number;
    card.tabIndex = -1;
    card.setAttribute("aria-label", `query ${query.id}, ${query.landmark}`);
    seen.observe(card);
    return card;
  });

  const show = () => {
    const [value, direction] = orders[order.value];
    const wanted = landmark.value.trim().toLowerCase();
    const chosen = cards.filter((card) => data.queries[card.dataset.query].landmark.toLowerCase().includes(wanted));
    const keyed = chosen.map((card) => [value(data.queries[card.dataset.query]), Number(card.dataset.query), card]);
    keyed.sort(([a, first], [b, second]) => {
      if (a === null || b === null) return (a === null) - (b === null) || first - second;
      return direction * (a - b) || first - second;
    });
    main.replaceChildren(...keyed.map(([, , card]) => card));
    document.getElementById("count").textContent = `${chosen.length} of ${cards.length} queries`;
    document.getElementById("none").hidden = chosen.length > 0;
  };

  const link = (event, on) => {
    const item = event.target.closest("li[data-photo]");
    const card = item && item.closest("article");
    if (!card) return;
    for (const other of card.querySelectorAll("li[data-photo]")) {
      other.classList.toggle("linked", on && other.dataset.photo === item.dataset.photo);
    }
  };

  const step = (event) => {
    if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { j: 1, k: -1 }[event.key];
    if (!by || !main.children.length) return;
    const shown = [...main.children];
    const at = shown.indexOf(document.activeElement.closest("article"));
    const next = shown[Math.min(shown.length - 1, Math.max(0, at + by))];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
  };

  order.addEventListener("change", show);
  landmark.addEventListener("input", show);
  document.getElementById("clear").addEventListener("click", () => {
    landmark.value = "";
    show();
    landmark.focus();
  });
  main.addEventListener("pointerover", (event) => link(event, true));
  main.addEventListener("pointerout", (event) => link(event, false));
  document.addEventListener("keydown", step);
  show();
})();
