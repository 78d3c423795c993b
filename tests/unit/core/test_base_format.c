/* SPDX-License-Identifier: Apache-2.0
 *
 * The formatter: every conversion as printf does it, the bound, the final NUL, the return value.
 */
#include "base/format.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The same arguments through libc and through ours. */
#define assert_like_printf(...)                                                                    \
    do {                                                                                           \
        char ours_[256], theirs_[256];                                                             \
        size_t length_ = mal_format(ours_, sizeof ours_, __VA_ARGS__);                             \
        snprintf(theirs_, sizeof theirs_, __VA_ARGS__);                                            \
        assert_string_equal(ours_, theirs_);                                                       \
        assert_int_equal(length_, strlen(theirs_));                                                \
    } while (0)

static void plain_text_passes_through(void **state) {
    (void)state;
    assert_like_printf("hello");
    assert_like_printf("100%%");
    assert_like_printf("%s", "");
}

static void numbers_are_printfs(void **state) {
    (void)state;
    assert_like_printf("%d %d %d %d", 0, -1, INT_MAX, INT_MIN);
    assert_like_printf("%ld %ld", LONG_MAX, LONG_MIN);
    assert_like_printf("%u %u", 0u, UINT_MAX);
    assert_like_printf("%lu %llu %zu", ULONG_MAX, ULLONG_MAX, SIZE_MAX);
    assert_like_printf("%x %x %lx %zx", 0u, 0xabcdefu, ULONG_MAX, (size_t)255);
    assert_like_printf("%lld", LLONG_MIN);
}

static void texts_characters_and_pointers_are_printfs(void **state) {
    (void)state;
    assert_like_printf("<%s|%c|%s>", "a b", 'z', "end");
    assert_like_printf("%p", (void *)0x7f00deadbeef);
    char line[32];
    mal_format(line, sizeof line, "%p %s", NULL, (const char *)NULL);
    assert_string_equal(line, "0x0 (null)");
}

static void output_stops_at_its_bound(void **state) {
    (void)state;
    for (size_t bytes = 1; bytes <= 24; bytes++) {
        char line[32];
        memset(line, '#', sizeof line);
        size_t length = mal_format(line, bytes, "%s-%u-%x", "abcdefgh", 12345678u, 0xffffu);
        assert_int_equal(length, bytes - 1 < 22 ? bytes - 1 : 22);
        assert_int_equal(line[length], '\0');
        assert_int_equal(line[bytes], '#');
        assert_int_equal(memcmp(line, "abcdefgh-12345678-ffff", length), 0);
    }
}

/* Formats are ours, but a slip must not read behind the end. */
static void an_unfinished_conversion_ends_the_text(void **state) {
    (void)state;
    char line[16];
    const char *unfinished[] = {"ab%", "ab%l", "ab%zl"};
    for (size_t i = 0; i < 3; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        assert_int_equal(mal_format(line, sizeof line, unfinished[i]), 2);
#pragma GCC diagnostic pop
        assert_string_equal(line, "ab");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_passes_through),
        cmocka_unit_test(numbers_are_printfs),
        cmocka_unit_test(texts_characters_and_pointers_are_printfs),
        cmocka_unit_test(output_stops_at_its_bound),
        cmocka_unit_test(an_unfinished_conversion_ends_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
