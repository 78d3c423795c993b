/* SPDX-License-Identifier: Apache-2.0
 *
 * Which bucket a stack and a size were counted in lately, of stacks that the unwinder knows by
 * number: such a stack need not be hashed or compared.
 */
#ifndef MAL_SAMPLE_RECENT_H
#define MAL_SAMPLE_RECENT_H

#include "box/writer.h"
#include "sample/paths.h"

#include <stdint.h>

#define MAL_RECENT_NONE MAL_BOX_NONE

/* A bucket that was noted for the path and for something with that hash: of the rest the caller has
 * to make sure. Any thread. */
uint32_t mal_recent_find(uint32_t path, uint64_t hash);

/* `path` is not MAL_PATH_NONE. Any thread. */
void mal_recent_note(uint32_t path, uint64_t hash, uint32_t bucket);

/* While nobody else samples. */
void mal_recent_forget(void);

#endif
