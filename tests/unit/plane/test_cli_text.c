/* SPDX-License-Identifier: Apache-2.0
 *
 * What the command puts on terminals and takes from them: clipped text, tables, keys, moments.
 */
#include "base/attr.h"
#include "cli/clip.h"
#include "cli/key.h"
#include "cli/table.h"
#include "cli/trend.h"
#include "cli/when.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- clipping ---- */

static void printable_cases(void **state) {
    static const struct {
        const char *text;
        size_t bytes;
        const char *wanted;
    } cases[] = {
        {"plain", 5, "plain"},
        {"a\0b\0", 4, "a b "},
        {"\033[31mred\033[0m", 12, "?[31mred?[0m"},
        {"tab\tline\n\x7f", 10, "tab?line??"},
        {"h\xc3\xa4ndler", 8, "h\xc3\xa4ndler"},
        {"bad\xff\xc3", 5, "bad??"},
        {"\xc2\x9b"
         "31m",
         5, "?31m"}, /* CSI as one character */
        {"a\xe2\x80\xae"
         "b",
         5, "a?b"},                                  /* right-to-left override */
        {"zero\xe2\x80\x8bwidth", 12, "zero?width"}, /* zero width space */
        {"e\xcc\x81", 3, "e\xcc\x81"},               /* a combining accent stays */
        {"\xed\xa0\x80", 3, "???"},                  /* a surrogate is no UTF-8 */
        {"\xf4\x90\x80\x80", 4, "????"},             /* above the last code point */
    };
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(cases); i++) {
        char *got = clip_printable(cases[i].text, cases[i].bytes);
        assert_string_equal(got, cases[i].wanted);
        free(got);
    }
}

static void clip_counts_columns(void **state) {
    static const struct {
        const char *text;
        size_t columns, taken;
        const char *wanted;
    } cases[] = {
        {"abc", 5, 3, "abc"},
        {"abcdef", 3, 3, "abc"},
        {"abc", 0, 0, ""},
        {"\xc3\xa4\xc3\xb6\xc3\xbc", 2, 2, "\xc3\xa4\xc3\xb6"},
        {"\xe6\xbc\xa2\xe5\xad\x97", 4, 4, "\xe6\xbc\xa2\xe5\xad\x97"}, /* two columns each */
        {"\xe6\xbc\xa2\xe5\xad\x97", 3, 2, "\xe6\xbc\xa2"},
        {"e\xcc\x81x", 1, 1, "e\xcc\x81"}, /* the accent takes no column of its own */
    };
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(cases); i++) {
        struct view_buffer out = {0};
        assert_int_equal(clip_put(&out, cases[i].text, cases[i].columns), cases[i].taken);
        assert_string_equal(out.data != NULL ? out.data : "", cases[i].wanted);
        view_buffer_free(&out);
    }
}

/* ---- tables ---- */

enum { ID, BYTES, CHANGE, COUNT, NAME };
static const struct cli_column columns[] = {
    [ID] = {"id", "ID", 4, CLI_ID},
    [BYTES] = {"bytes", "BYTES", 9, CLI_BYTES},
    [CHANGE] = {"change", "CHANGE", 10, CLI_CHANGE},
    [COUNT] = {"count", "COUNT", 8, CLI_COUNT},
    [NAME] = {"name", "NAME", 0, CLI_TEXT},
};

static struct cli_table table_new(void) {
    return (struct cli_table){.columns = columns, .column_count = MAL_COUNT_OF(columns)};
}

static void add(struct cli_table *table, double id, double bytes, double change, double count,
                const char *name) {
    struct cli_row *row = cli_table_add(table, (uint64_t)id, strdup(name));
    assert_non_null(row);
    row->value[ID] = id;
    row->value[BYTES] = bytes;
    row->value[CHANGE] = change;
    row->value[COUNT] = count;
}

static void check_order(struct cli_table *table, size_t column, const char *wanted) {
    char got[16] = "";
    cli_table_sort(table, column);
    for (size_t i = 0; i < table->count; i++)
        got[i] = table->rows[i].text[0];
    assert_string_equal(got, wanted);
}

static void tables_are_sorted(void **state) {
    struct cli_table table = table_new();
    (void)state;
    add(&table, 3, 100, NAN, 1, "c");
    add(&table, 1, 300, -5, 2, "a");
    add(&table, 2, 200, 7, 2, "b");
    add(&table, 4, 200, 7, 9, "d");
    check_order(&table, ID, "abcd");     /* upwards */
    check_order(&table, BYTES, "abdc");  /* downwards; equal ones by the other columns */
    check_order(&table, CHANGE, "bdac"); /* the unknown one is last */
    check_order(&table, COUNT, "dabc");
    check_order(&table, NAME, "abcd");
    assert_int_equal(cli_table_column(columns, MAL_COUNT_OF(columns), "change"), CHANGE);
    assert_int_equal(cli_table_column(columns, MAL_COUNT_OF(columns), "CHANGE"), SIZE_MAX);
    cli_table_free(&table);
}

static void tables_are_printed(void **state) {
    struct cli_table table = table_new();
    struct view_buffer out = {0};
    (void)state;
    add(&table, 7, 1536, 1048576, 12345678, "seven");
    add(&table, 8, 0, -2048, NAN, "eight");
    add(&table, 9, 1e30, 0, -3, "nine");
    cli_table_put(&table, 3, &out);
    assert_string_equal(out.data, "  ID      BYTES      CHANGE     COUNT  NAME\n"
                                  "   7    1.5 KiB      +1 MiB     12.3M  seven\n"
                                  "   8        0 B      -2 KiB         -  eight\n"
                                  "   9     16 EiB         0 B        -3  nine\n");
    view_buffer_reset(&out);
    const struct cli_column gain = {"gain", "GAIN", 8, CLI_GAIN};
    struct cli_table gains = {.columns = &gain, .column_count = 1};
    cli_table_add(&gains, 1, NULL)->value[0] = 5;
    cli_table_add(&gains, 2, NULL)->value[0] = -12345678;
    cli_table_put(&gains, 2, &out);
    assert_string_equal(out.data, "    GAIN  \n      +5  \n  -12.3M  \n");
    cli_table_free(&gains);
    view_buffer_reset(&out);
    cli_table_put_row(&table, &table.rows[0], 21, &out);
    assert_string_equal(out.data, "   7    1.5 KiB      ");
    view_buffer_free(&out);
    cli_table_free(&table);
}

/* ---- keys ---- */

static void keys_are_decoded(void **state) {
    static const struct {
        const char *bytes;
        size_t count;
        int key;
        size_t taken;
    } cases[] = {
        {"", 0, CLI_KEY_NONE, 0},
        {"q", 1, 'q', 1},
        {"jk", 2, 'j', 1},
        {"\r", 1, CLI_KEY_ENTER, 1},
        {"\n", 1, CLI_KEY_ENTER, 1},
        {"\033", 1, CLI_KEY_NONE, 0},
        {"\033q", 2, CLI_KEY_ESCAPE, 1},
        {"\033[", 2, CLI_KEY_NONE, 0},
        {"\033[A", 3, CLI_KEY_UP, 3},
        {"\033OB", 3, CLI_KEY_DOWN, 3},
        {"\033[Cx", 4, CLI_KEY_RIGHT, 3},
        {"\033[D", 3, CLI_KEY_LEFT, 3},
        {"\033[5~", 4, CLI_KEY_PAGE_UP, 4},
        {"\033[6~", 4, CLI_KEY_PAGE_DOWN, 4},
        {"\033[1~", 4, CLI_KEY_HOME, 4},
        {"\033OF", 3, CLI_KEY_END, 3},
        {"\033[1;5C", 6, CLI_KEY_NONE, 6}, /* with Ctrl: not ours, but one key */
        {"\033[2\nx", 5, CLI_KEY_NONE, 3}, /* broken: what follows is read anew */
        {"\xff", 1, 0xff, 1},
    };
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(cases); i++) {
        size_t taken = 99;
        assert_int_equal(cli_key_decode(cases[i].bytes, cases[i].count, &taken), cases[i].key);
        assert_int_equal(taken, cases[i].taken);
    }
}

/* However much comes, decoding goes on: nothing is waited for that never ends. */
static void endless_sequences_end(void **state) {
    char bytes[64] = "\033[";
    size_t taken;
    (void)state;
    memset(bytes + 2, '1', sizeof bytes - 2);
    assert_int_equal(cli_key_decode(bytes, 32, &taken), CLI_KEY_NONE);
    assert_true(taken > 0);
}

/* ---- moments ---- */

#define NOON 1700049600 /* 2023-11-15 12:00:00 UTC */

static void moments_are_read(void **state) {
    static const struct {
        const char *text;
        int error;
        uint64_t wanted;
    } cases[] = {
        {"1700000000", 0, 1700000000},
        {"0", 0, 0},
        {"11:30", 0, NOON - 1800},
        {"12:00:00", 0, NOON},
        {"12:00:01", 0, NOON + 1 - 86400}, /* not yet today: yesterday */
        {"23:59", 0, NOON + 43140 - 86400},
        {"0:05", 0, NOON - 43200 + 300},
        {"-10m", 0, NOON - 600},
        {"-90s", 0, NOON - 90},
        {"-2h", 0, NOON - 7200},
        {"-1d", 0, NOON - 86400},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"-10", -EINVAL, 0},
        {"-10x", -EINVAL, 0},
        {"-10mm", -EINVAL, 0},
        {"-999999999d", -EINVAL, 0},
        {"24:00", -EINVAL, 0},
        {"12:60", -EINVAL, 0},
        {"12:5", -EINVAL, 0},
        {"12:00:60", -EINVAL, 0},
        {"12:00:00:00", -EINVAL, 0},
        {"123:00", -EINVAL, 0},
        {"12:", -EINVAL, 0},
        {"noon", -EINVAL, 0},
        {"12x", -EINVAL, 0},
        {"99999999999999999999", -EINVAL, 0},
        {" 12", -EINVAL, 0},
    };
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(cases); i++) {
        uint64_t got = 0;
        if (cli_when(cases[i].text, NOON, &got) != cases[i].error || got != cases[i].wanted)
            fail_msg("'%s' is %llu", cases[i].text, (unsigned long long)got);
    }
}

static void moments_are_written(void **state) {
    char text[CLI_CLOCK_BYTES];
    (void)state;
    cli_clock_text(NOON - 5, NOON, text);
    assert_string_equal(text, "11:59:55");
    cli_clock_text(NOON - 86400, NOON, text);
    assert_string_equal(text, "Nov 14 12:00");
    cli_clock_text(NOON - 400 * 86400ull, NOON, text);
    assert_string_equal(text, "2022-10-11");
    cli_clock_text(NOON + 86400, NOON, text); /* the clock was set back: not without the year */
    assert_string_equal(text, "2023-11-16");
    cli_clock_text(UINT64_MAX, NOON, text);
    assert_true(strlen(text) < CLI_CLOCK_BYTES);
}

/* ---- trends ---- */

static void trends_need_rows(void **state) {
    struct mal_box_history_row rows[120];
    const uint64_t begin_ns = 1700000000000000000ull;
    (void)state;
    for (uint64_t i = 0; i < MAL_COUNT_OF(rows); i++)
        rows[i] = (struct mal_box_history_row){.unix_ns = begin_ns + i * 1000000000u,
                                               .heap_alloc_bytes = 1000 + 10 * i,
                                               .mallocs = 5 * i,
                                               .total_alloc_bytes = 100 * i};
    uint64_t end_ns = rows[119].unix_ns;
    struct trend trend = trend_of(rows, 120, end_ns, 2);
    assert_true(fabs(trend.growth_bytes_per_hour - 36000) < 1);
    assert_true(fabs(trend.alloc_bytes_per_s - 100) < 1e-6);
    assert_true(fabs(trend.allocs_per_s - 5) < 1e-6);
    trend = trend_of(rows, 30, rows[29].unix_ns, 2);
    assert_true(isnan(trend.growth_bytes_per_hour));
    assert_true(fabs(trend.allocs_per_s - 5) < 1e-6);
    trend = trend_of(rows, 1, end_ns, 2);
    assert_true(isnan(trend.alloc_bytes_per_s));
    trend = trend_of(rows, 120, end_ns + 60000000000u, 2);
    assert_true(isnan(trend.alloc_bytes_per_s)); /* it stopped writing a minute ago */
    rows[118].mallocs = UINT64_MAX;
    rows[117].unix_ns = 0;
    trend = trend_of(rows, 120, end_ns, 0.1);
    assert_true(isnan(trend.allocs_per_s)); /* counters do not shrink */
}

int main(void) {
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printable_cases),   cmocka_unit_test(clip_counts_columns),
        cmocka_unit_test(tables_are_sorted), cmocka_unit_test(tables_are_printed),
        cmocka_unit_test(keys_are_decoded),  cmocka_unit_test(endless_sequences_end),
        cmocka_unit_test(moments_are_read),  cmocka_unit_test(moments_are_written),
        cmocka_unit_test(trends_need_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
