// A list in parts, with a search field and a pager.

const $ = (id) => document.getElementById(id);
const count = new Intl.NumberFormat();

/** How long somebody may think between two letters, in milliseconds. */
const THINKING = 200;

/**
 * Takes care of the elements `name`, `name-search`, `name-empty` and `name-pager`. `draw` makes elements of items;
 * `changed` is called when another part is wanted.
 */
export function list(name, limit, changed, draw) {
  let offset = 0;
  let timer;
  const search = $(`${name}-search`);
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      offset = 0;
      changed();
    }, THINKING);
  });
  const button = (text, to, enabled) => {
    const made = document.createElement('button');
    made.type = 'button';
    made.className = 'quiet small';
    made.textContent = text;
    made.disabled = !enabled;
    made.addEventListener('click', () => {
      offset = to;
      changed();
    });
    return made;
  };

  return {
    searched: () => search.value.trim() !== '',
    query: () => new URLSearchParams({ search: search.value.trim(), offset, limit }),
    reset() {
      offset = 0;
      search.value = '';
    },
    show(items, answer, none) {
      // The last part may have become empty.
      if (!items.length && offset > 0) {
        offset = 0;
        changed();
        return;
      }
      const drawn = draw(items, answer);
      // What looks the same stays: a click may be under way.
      if ($(name).innerHTML !== drawn.map((it) => it.outerHTML).join('')) {
        // Whoever has chosen something by the keyboard keeps it.
        const focused = [...$(name).querySelectorAll('button')].indexOf(document.activeElement);
        $(name).replaceChildren(...drawn);
        if (focused >= 0) $(name).querySelectorAll('button')[focused]?.focus();
      }
      const { total } = answer;
      $(`${name}-empty`).hidden = items.length > 0;
      $(`${name}-empty`).textContent = this.searched() ? 'Nothing fits.' : none;
      const pager = $(`${name}-pager`);
      pager.hidden = total <= limit;
      const ways = document.createElement('div');
      ways.append(
        button('Back', Math.max(0, offset - limit), offset > 0),
        button('Next', offset + limit, offset + limit < total),
      );
      pager.replaceChildren(`${count.format(offset + 1)} to ${count.format(offset + items.length)} of ${count.format(total)}`, ways);
    },
  };
}
