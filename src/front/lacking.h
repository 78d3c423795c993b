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

/* The same by the program's own operator delete, or delete[]. Never for what came by ours of that
 * name. */
bool mal_first_delete(void *object);
bool mal_first_delete_array(void *object);

/* Operators new without nothrow. */
enum mal_new { MAL_NEW, MAL_NEW_ARRAY, MAL_NEW_ALIGNED, MAL_NEW_ARRAY_ALIGNED, MAL_NEW_COUNT };

/* Whether the program gets ours by that name. */
bool mal_new_is_ours(enum mal_new operator);

#endif
