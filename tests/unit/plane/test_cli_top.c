/* SPDX-License-Identifier: Apache-2.0
 *
 * The screen of top without a terminal: what keys change, what is drawn, and that nothing drawn is
 * wider or longer than the screen.
 */
#include "base/attr.h"
#include "cli/key.h"
#include "cli/top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct cli_column two_columns[] = {
    {"size", "SIZE", 6, CLI_COUNT},
    {"name", "NAME", 0, CLI_TEXT},
};

static struct top_page page_new(unsigned rows) {
    struct top_page page = {
        .table = {.columns = two_columns, .column_count = MAL_COUNT_OF(two_columns)},
        .nothing = "nothing here"};
    snprintf(page.title, sizeof page.title, "a title");
    for (unsigned i = 0; i < rows; i++) {
        char name[32];
        snprintf(name, sizeof name, "row %02u", i);
        cli_table_add(&page.table, 100 + i, strdup(name))->value[0] = rows - i;
    }
    return page;
}

static void press(struct top_state *state, const int *keys, size_t count, size_t rows) {
    for (size_t i = 0; i < count; i++)
        assert_int_equal(top_state_key(state, keys[i], rows), TOP_STAY);
}

static void keys_move_the_selection(void **unused) {
    struct top_page page = page_new(20);
    struct top_state state = {.page = &page};
    (void)unused;
    top_state_settle(&state, 5);
    assert_int_equal(state.selected, 100);
    press(&state, (const int[]){'j', CLI_KEY_DOWN, 'j', 'k'}, 4, 5);
    assert_int_equal(state.selected, 102);
    press(&state, (const int[]){CLI_KEY_PAGE_DOWN}, 1, 5);
    assert_int_equal(state.at, 7);
    assert_int_equal(state.first, 3); /* the selected row is the last one seen */
    press(&state, (const int[]){'G'}, 1, 5);
    assert_int_equal(state.selected, 119);
    assert_int_equal(state.first, 15);
    press(&state, (const int[]){'j', ' '}, 2, 5);
    assert_int_equal(state.selected, 119);
    press(&state, (const int[]){'g', 'k', CLI_KEY_PAGE_UP}, 3, 5);
    assert_int_equal(state.selected, 100);
    assert_int_equal(state.first, 0);
    cli_table_free(&page.table);
}

static void keys_give_orders(void **unused) {
    struct top_page page = page_new(3);
    struct top_state state = {.page = &page};
    (void)unused;
    assert_int_equal(top_state_key(&state, 'q', 5), TOP_QUIT);
    assert_int_equal(top_state_key(&state, CLI_KEY_GONE, 5), TOP_QUIT);
    assert_int_equal(top_state_key(&state, CLI_KEY_ENTER, 5), TOP_OPEN);
    assert_int_equal(top_state_key(&state, CLI_KEY_ESCAPE, 5), TOP_BACK);
    assert_int_equal(top_state_key(&state, CLI_KEY_RESIZED, 5), TOP_STAY);
    press(&state, (const int[]){'p'}, 1, 5);
    assert_true(state.flags & TOP_PAUSED);
    press(&state, (const int[]){'p', '?'}, 2, 5);
    assert_int_equal(state.flags, TOP_HELP);
    assert_int_equal(top_state_key(&state, CLI_KEY_ENTER, 5), TOP_STAY); /* leaves the list */
    assert_int_equal(state.flags, 0);
    cli_table_free(&page.table);
}

static void the_selection_follows_its_row(void **unused) {
    struct top_page page = page_new(5);
    struct top_state state = {.page = &page};
    (void)unused;
    top_state_settle(&state, 5);
    page.table.rows[3].value[0] = 98; /* nobody chose: the first row is it */
    cli_table_sort(&page.table, 0);
    top_state_settle(&state, 5);
    assert_int_equal(state.selected, 103);
    page.table.rows[0].value[0] = 2;
    cli_table_sort(&page.table, 0);
    top_state_settle(&state, 5);
    press(&state, (const int[]){'j'}, 1, 5);
    assert_int_equal(state.selected, 101);
    page.table.rows[4].value[0] = 99;
    cli_table_sort(&page.table, 0);
    top_state_settle(&state, 5);
    assert_int_equal(state.selected, 101);
    assert_int_equal(state.at, 2);
    press(&state, (const int[]){'s'}, 1, 5); /* by name */
    assert_int_equal(page.sort, 1);
    assert_int_equal(state.selected, 101);
    assert_int_equal(state.at, 1);
    page.table.count = 1; /* its row is gone, and its line too */
    top_state_settle(&state, 5);
    assert_int_equal(state.at, 0);
    page.table.count = 0;
    top_state_settle(&state, 5);
    press(&state, (const int[]){'j', 'k', 'G'}, 3, 5);
    assert_int_equal(state.selected, 0);
    page.table.count = 5;
    cli_table_free(&page.table);
}

/* The lines of a screen without its sequences; checks that none is wider than `columns`. */
static size_t lines_of(const struct view_buffer *out, size_t columns, char lines[64][256]) {
    size_t count = 0;
    size_t width = 0;
    memset(lines, 0, 64 * sizeof lines[0]);
    for (const char *at = out->data; *at != '\0'; at++) {
        if (*at == '\033') {
            at += 2 + strspn(at + 2, "0123456789;?");
        } else if (*at == '\n') {
            count++;
            width = 0;
        } else if (*at != '\r') {
            assert_true(width < columns);
            lines[count][width++] = *at;
        }
    }
    return count + 1;
}

static void draw(struct top_state *state, struct cli_size size, struct view_buffer *out) {
    view_buffer_reset(out);
    top_state_settle(state, top_screen_rows(size));
    top_screen_draw(state, size, out);
}

static void screens_are_drawn(void **unused) {
    struct top_page page = page_new(20);
    struct top_state state = {.page = &page, .delay_s = 2};
    struct view_buffer out = {0};
    char lines[64][256];
    (void)unused;
    draw(&state, (struct cli_size){10, 60}, &out);
    assert_int_equal(lines_of(&out, 60, lines), 10);
    assert_string_equal(lines[0], "a title");
    assert_non_null(strstr(lines[1], "order: size"));
    assert_string_equal(lines[3], "    SIZE  NAME");
    assert_string_equal(lines[4], ">     20  row 00");
    assert_string_equal(lines[9], "      15  row 05");
    assert_null(strstr(out.data, "\033[7m"));
    state.flags = TOP_COLOURS | TOP_PAUSED;
    press(&state, (const int[]){'G'}, 1, 6);
    draw(&state, (struct cli_size){10, 60}, &out);
    lines_of(&out, 60, lines);
    assert_string_equal(lines[9], ">      1  row 19");
    assert_non_null(strstr(lines[1], "PAUSED"));
    assert_non_null(strstr(out.data, "\033[7m> "));
    cli_table_free(&page.table);
    view_buffer_free(&out);
}

static void small_screens_hold(void **unused) {
    struct top_page page = page_new(20);
    struct top_state state = {.page = &page, .delay_s = 2};
    struct view_buffer out = {0};
    char lines[64][256];
    (void)unused;
    for (size_t rows = 1; rows < 16; rows++)
        for (size_t width = 1; width < 20; width++) {
            state.flags = width % 2 == 0 ? TOP_HELP : 0;
            draw(&state, (struct cli_size){rows, width}, &out);
            assert_true(lines_of(&out, width < 2 ? 2 : width, lines) <= rows);
        }
    cli_table_free(&page.table);
    page = page_new(0);
    state = (struct top_state){.page = &page};
    draw(&state, (struct cli_size){10, 40}, &out);
    lines_of(&out, 40, lines);
    assert_string_equal(lines[4], "nothing here");
    view_buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_move_the_selection),
        cmocka_unit_test(keys_give_orders),
        cmocka_unit_test(the_selection_follows_its_row),
        cmocka_unit_test(screens_are_drawn),
        cmocka_unit_test(small_screens_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
