/* SPDX-License-Identifier: Apache-2.0
 *
 * Where our own code lies, and what another allocator in the process may own.
 */
#ifndef MAL_OS_TEXT_H
#define MAL_OS_TEXT_H

#include <stdbool.h>

struct mal_text_range {
    const void *low;
    const void *high;
};

/* The code of the core. The build puts all of it into one section, so that this holds in the shared
 * library as well as in a program that links the archive. */
struct mal_text_range mal_text_range(void);

/* Remembers where the program break is now; later breaks beyond it belong to another allocator,
 * since Mallard never moves it. Once, at init. */
void mal_break_remember(void);
bool mal_break_contains(const void *address);

/* False in builds whose tools cannot see into restartable sequences. */
bool mal_text_allows_rseq(void);

#endif
