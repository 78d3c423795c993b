/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rise of a group's count of OOM kills explains an end.
 */
#include "base/attr.h"
#include "daemon/kill_count.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define S_NS 1000000000ull
#define NOW_NS (1000 * S_NS)

static void nothing_rose_test(void **state MAL_UNUSED) {
    struct kill_count count;
    kill_count_begin(&count, 3);
    assert_int_equal(kill_count_before(&count, NOW_NS), 3);
    kill_count_look(&count, 3, NOW_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS), 3);
    kill_count_take_off(&count, KILL_COUNT_UNKNOWN, NOW_NS); /* its group was gone */
    assert_int_equal(kill_count_before(&count, NOW_NS), 3);
}

/* Counted, looked at, and only then gone. */
static void rise_while_dying_test(void **state MAL_UNUSED) {
    struct kill_count count;
    kill_count_begin(&count, 3);
    kill_count_look(&count, 4, NOW_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS + S_NS), 3);
    assert_int_equal(kill_count_before(&count, NOW_NS + KILL_COUNT_DYING_NS - 1), 3);
    assert_int_equal(kill_count_before(&count, NOW_NS + KILL_COUNT_DYING_NS), 4);
}

static void looks_while_dying_test(void **state MAL_UNUSED) {
    struct kill_count count;
    kill_count_begin(&count, 3);
    kill_count_look(&count, 4, NOW_NS);
    kill_count_look(&count, 4, NOW_NS + S_NS);
    kill_count_look(&count, 5, NOW_NS + 2 * S_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS + 3 * S_NS), 3);
    assert_int_equal(kill_count_before(&count, NOW_NS + KILL_COUNT_DYING_NS), 5);
    kill_count_look(&count, 6, NOW_NS + KILL_COUNT_DYING_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS + KILL_COUNT_DYING_NS + S_NS), 5);
}

/* One of two was the victim, however the looks fell; the other's end has nothing to be counted. */
static void taken_off_before_the_look_test(void **state MAL_UNUSED) {
    struct kill_count count;
    kill_count_begin(&count, 3);
    kill_count_take_off(&count, 4, NOW_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS), 4);
    kill_count_look(&count, 4, NOW_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS), 4);
    kill_count_take_off(&count, 4, NOW_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS), 4);
}

static void taken_off_after_the_look_test(void **state MAL_UNUSED) {
    struct kill_count count;
    kill_count_begin(&count, 3);
    kill_count_look(&count, 5, NOW_NS);
    kill_count_take_off(&count, 5, NOW_NS + S_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS + S_NS), 4);
    kill_count_take_off(&count, 5, NOW_NS + S_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS + S_NS), 5);
    assert_int_equal(kill_count_before(&count, NOW_NS + KILL_COUNT_DYING_NS), 5);
}

static void unknown_test(void **state MAL_UNUSED) {
    struct kill_count count;
    kill_count_begin(&count, KILL_COUNT_UNKNOWN);
    kill_count_take_off(&count, KILL_COUNT_UNKNOWN, NOW_NS);
    kill_count_take_off(&count, 7, NOW_NS);
    assert_true(kill_count_before(&count, NOW_NS) == KILL_COUNT_UNKNOWN);
    kill_count_look(&count, 3, NOW_NS);
    assert_int_equal(kill_count_before(&count, NOW_NS), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_rose_test),
        cmocka_unit_test(rise_while_dying_test),
        cmocka_unit_test(looks_while_dying_test),
        cmocka_unit_test(taken_off_before_the_look_test),
        cmocka_unit_test(taken_off_after_the_look_test),
        cmocka_unit_test(unknown_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
