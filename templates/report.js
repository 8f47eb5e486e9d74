'use strict';
// The page is whole without this. It adds sorting, filters, the weeks of single accounts, and UTC where
// one points at a time.
{
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, properties = {}) => Object.assign(document.createElement(name), properties);

  for (const time of all('time[datetime]')) {
    time.title = time.dateTime.replace('T', ' ').replace('Z', ' UTC');
  }

  // Sorting: the heading of a column becomes a button. What is not known comes last in either direction.
  const order = new Intl.Collator(undefined, { numeric: true });
  const value = (cell, numeric) => {
    const time = cell.querySelector('time');
    if (time) return time.dateTime || time.textContent;
    if (cell.querySelector('i')) return null;
    return numeric ? Number(cell.textContent) : cell.textContent;
  };
  const sort = (heading) => {
    const table = heading.closest('table');
    const ascending = heading.getAttribute('aria-sort') !== 'ascending';
    for (const other of all('thead th', table)) other.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
    const column = heading.cellIndex;
    const numeric = heading.classList.contains('n');
    const compare = numeric ? (a, b) => a - b : order.compare;
    const rows = [...table.tBodies[0].rows].map((row) => [value(row.cells[column], numeric), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return ascending ? compare(a, b) : compare(b, a);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const heading of all('table.sortable thead th:not(.plain)')) {
    const button = make('button', { type: 'button', textContent: heading.textContent });
    button.addEventListener('click', () => sort(heading));
    heading.replaceChildren(button);
  }

  // Filters: every word must stand in the row.
  for (const form of all('form.filter')) {
    const rows = [...document.getElementById(form.dataset.for).tBodies[0].rows];
    let texts;
    const [text, state, count] = ['input', 'select', 'output'].map((name) => form.querySelector(name));
    const filter = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      texts ??= words.length > 0 ? rows.map((row) => row.textContent.toLowerCase()) : undefined;
      let shown = 0;
      rows.forEach((row, at) => {
        const fits = words.every((word) => texts[at].includes(word))
          && (!state?.value || row.querySelector('.s').textContent === state.value);
        row.hidden = !fits;
        shown += fits;
      });
      const all = `${rows.length} ${rows.length === 1 ? 'row' : 'rows'}`;
      count.value = shown === rows.length ? all : `${shown} of ${all}`;
    };
    form.addEventListener('input', filter);
    form.addEventListener('submit', (event) => event.preventDefault());
    form.hidden = false;
    filter();
  }

  // The week of one account, drawn when it is asked for: a digit holds two hours, two bits each.
  const days = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
  const levels = ['never', 'seldom', 'sometimes', 'mostly'];
  const draw = (digits, words) => {
    const svg = (name, attributes, ...children) => {
      const element = document.createElementNS('http://www.w3.org/2000/svg', name);
      for (const [key, text] of Object.entries(attributes)) element.setAttribute(key, text);
      element.append(...children);
      return element;
    };
    const picture = svg('svg', { viewBox: '0 0 318 116', class: 'own', role: 'img', 'aria-label': words });
    days.forEach((day, row) => picture.append(svg('text', { x: 0, y: 24 + row * 13 }, day)));
    for (let hour = 0; hour < 24; hour += 6) {
      picture.append(svg('text', { x: 30 + hour * 12, y: 10 }, String(hour)));
    }
    [...digits].flatMap((digit) => [parseInt(digit, 16) >> 2, parseInt(digit, 16) & 3])
      .forEach((level, at) => {
        const [row, hour] = [Math.floor(at / 24), at % 24];
        picture.append(svg(
          'rect',
          { x: 30 + hour * 12, y: 14 + row * 13, width: 11, height: 12, class: `d${level}` },
          svg('title', {}, `${days[row]} ${hour}–${hour + 1}: ${levels[level]}`),
        ));
      });
    const legend = make('p', { className: 'legend' });
    levels.forEach((level, at) => {
      const key = make('span', { className: 'key' });
      key.append(make('span', { className: `swatch d${at}` }), ` ${level}`);
      legend.append(key, ' ');
    });
    const week = make('div', { className: 'own' });
    week.append(picture, legend);
    return week;
  };
  for (const cell of all('td[data-week]')) {
    const button = make('button', { type: 'button', textContent: cell.textContent });
    button.setAttribute('aria-expanded', 'false');
    cell.replaceChildren(button);
  }
  document.addEventListener('click', (event) => {
    const button = event.target.closest('td[data-week] > button');
    if (!button) return;
    const open = button.getAttribute('aria-expanded') === 'true';
    button.setAttribute('aria-expanded', String(!open));
    if (open) button.nextSibling.remove();
    else button.after(draw(button.parentNode.dataset.week, button.textContent));
  });
}
