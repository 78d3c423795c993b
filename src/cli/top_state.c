/* SPDX-License-Identifier: Apache-2.0
 *
 * What keys do to the screen of top. No terminal here, so that tests can press keys.
 *
 * The selection is a thing, not a line: it follows its row when the order changes, and where that
 * row is gone it stays on the line. Before anybody selected something it is the first line.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/key.h"
#include "cli/top.h"

static void select_row(struct top_state *state, size_t at) {
    const struct cli_table *table = &state->page->table;
    if (at >= table->count)
        at = table->count > 0 ? table->count - 1 : 0;
    state->at = at;
    state->selected = table->count > 0 ? table->rows[at].id : 0;
}

void top_state_settle(struct top_state *state, size_t visible_rows) {
    const struct cli_table *table = &state->page->table;
    size_t at = 0;
    bool is_chosen = state->flags & TOP_CHOSEN;
    while (is_chosen && at < table->count && table->rows[at].id != state->selected)
        at++;
    select_row(state, at < table->count ? at : state->at);
    if (state->first + visible_rows > table->count)
        state->first = table->count > visible_rows ? table->count - visible_rows : 0;
    if (state->at < state->first)
        state->first = state->at;
    if (visible_rows > 0 && state->at >= state->first + visible_rows)
        state->first = state->at - visible_rows + 1;
}

static void choose(struct top_state *state, size_t at) {
    state->flags |= TOP_CHOSEN;
    select_row(state, at);
}

static void move(struct top_state *state, long rows) {
    long at = (long)state->at + rows;
    choose(state, at > 0 ? (size_t)at : 0);
}

static void next_sort(struct top_state *state) {
    state->page->sort = (state->page->sort + 1) % state->page->table.column_count;
    cli_table_sort(&state->page->table, state->page->sort);
}

enum top_order top_state_key(struct top_state *state, int key, size_t visible_rows) {
    enum top_order order = TOP_STAY;
    if (state->flags & TOP_HELP) {
        state->flags &= ~(unsigned)TOP_HELP;
        return key == 'q' || key == CLI_KEY_GONE ? TOP_QUIT : TOP_STAY;
    }
    switch (key) {
    case 'q':
    case CLI_KEY_GONE:
        return TOP_QUIT;
    case 'j':
    case CLI_KEY_DOWN:
        move(state, 1);
        break;
    case 'k':
    case CLI_KEY_UP:
        move(state, -1);
        break;
    case ' ':
    case CLI_KEY_PAGE_DOWN:
        move(state, (long)visible_rows);
        break;
    case CLI_KEY_PAGE_UP:
        move(state, -(long)visible_rows);
        break;
    case 'g':
    case CLI_KEY_HOME:
        choose(state, 0);
        break;
    case 'G':
    case CLI_KEY_END:
        choose(state, state->page->table.count);
        break;
    case 's':
        next_sort(state);
        break;
    case 'p':
        state->flags ^= TOP_PAUSED;
        break;
    case '?':
    case 'h':
        state->flags |= TOP_HELP;
        break;
    case CLI_KEY_ENTER:
    case CLI_KEY_RIGHT:
        order = TOP_OPEN;
        break;
    case CLI_KEY_ESCAPE:
    case CLI_KEY_LEFT:
        order = TOP_BACK;
        break;
    }
    top_state_settle(state, visible_rows);
    return order;
}
