/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths: ways that stack walks took, pc by pc from the leaf, each with the row of its last pc. A
 * walk that goes where one went before finds its rows one behind the other; and where it ends, the
 * number of the path stands for the whole stack.
 */
#ifndef MAL_SAMPLE_PATHS_H
#define MAL_SAMPLE_PATHS_H

#include "base/atomic.h"
#include "base/attr.h"
#include "sample/unwind_cfi.h"

#include <stdint.h>

#define MAL_PATH_BITS 12u /* of a number */
#define MAL_PATH_NONE 0u
#define MAL_PATH_START 1u /* of no pc yet */
#define MAL_PATH_BRANCHES 4u

struct mal_path {
    uintptr_t pc; /* its last one; constant, like `row`, once anybody knows the path */
    struct mal_unwind_row row;
    /* What it leads to: low half of a pc << 32 | number of the path; 0 is free. Each is written
     * once, by compare-and-swap (release). */
    uint64_t branch[MAL_PATH_BRANCHES];
} __attribute__((aligned(64)));

extern MAL_HIDDEN struct mal_path mal_paths[];

MAL_SLOW uint32_t mal_path_find_other(uint32_t path, uintptr_t pc);

/* The path that is `path` and `pc`, or MAL_PATH_NONE. */
MAL_FAST uint32_t mal_path_find(uint32_t path, uintptr_t pc) {
    for (unsigned i = 0; i < MAL_PATH_BRANCHES; i++) {
        uint64_t branch = mal_load_acquire(&mal_paths[path].branch[i]);
        if (branch >> 32 == (uint32_t)pc && mal_paths[(uint32_t)branch].pc == pc)
            return (uint32_t)branch;
    }
    return mal_path_find_other(path, pc);
}

/* The same, made if it was not there; MAL_PATH_NONE when there is no more room. What `row` says of
 * `pc` must hold for good. */
MAL_SLOW uint32_t mal_path_extend(uint32_t path, uintptr_t pc, const struct mal_unwind_row *row);

/* Finds no path any more that was made before; their numbers stay theirs. Safe beside walks in
 * other threads; for tests. */
void mal_paths_forget(void);

#endif
