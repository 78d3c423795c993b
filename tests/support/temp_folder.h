/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder of a test's own below /tmp, and its removal with all that is in it. Include after
 * cmocka.h.
 */
#ifndef MAL_TESTS_TEMP_FOLDER_H
#define MAL_TESTS_TEMP_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TEMP_FOLDER_BYTES 64

static inline void temp_folder_make(char ret_path[TEMP_FOLDER_BYTES]) {
    snprintf(ret_path, TEMP_FOLDER_BYTES, "/tmp/mallard-test-XXXXXX");
    assert_non_null(mkdtemp(ret_path));
}

static inline int temp_folder_visit(const char *path, const struct stat *status, int kind,
                                    struct FTW *place) {
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static inline void temp_folder_remove(const char *path) {
    assert_int_equal(nftw(path, temp_folder_visit, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
