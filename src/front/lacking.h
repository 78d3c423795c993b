/* SPDX-License-Identifier: Apache-2.0
 *
 * Where another allocator comes before ours.
 */
#ifndef MAL_FRONT_LACKING_H
#define MAL_FRONT_LACKING_H

#include <stdbool.h>

/* For a pointer that is certainly not ours: frees it by the `free` that the program gets, if that
 * is another one's. False when it is ours. Never for what came by our own `free`. No lock held. */
bool mal_first_free(void *pointer);

#endif
