/* SPDX-License-Identifier: Apache-2.0
 *
 * Locks: every rank has a name, and debug builds end with two of them where the order is broken.
 */
#include "base/check.h"
#include "base/lock_rank.h"
#include "os/lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void every_rank_has_a_name_of_its_own(void **state) {
    (void)state;
    for (unsigned rank = 0; rank < MAL_RANK_COUNT; rank++) {
        assert_non_null(mal_lock_rank_name(rank));
        for (unsigned other = 0; other < rank; other++)
            assert_string_not_equal(mal_lock_rank_name(rank), mal_lock_rank_name(other));
    }
    assert_null(mal_lock_rank_name(MAL_RANK_COUNT));
}

static void take_in_the_wrong_order(void) {
    static struct mal_lock box = MAL_LOCK_INIT(MAL_RANK_BOX),
                           work = MAL_LOCK_INIT(MAL_RANK_GC_WORK),
                           stats = MAL_LOCK_INIT(MAL_RANK_GC_STATS);
    mal_lock(&box);
    mal_lock(&work);
    mal_lock(&stats);
}

/* What the child says before it dies. */
static void say_of_child(char *ret_text, size_t bytes) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        take_in_the_wrong_order();
        _exit(0);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], ret_text, bytes - 1);
    ret_text[got > 0 ? got : 0] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_broken_order_is_told_by_names(void **state) {
    char text[256];
    (void)state;
    if (MAL_DEBUG == 0)
        skip();
    say_of_child(text, sizeof text);
    assert_non_null(strstr(text, "lock order: GC_STATS taken while holding GC_WORK"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_has_a_name_of_its_own),
        cmocka_unit_test(a_broken_order_is_told_by_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
