/* SPDX-License-Identifier: Apache-2.0
 *
 * One round of giving memory back in the background.
 */
#ifndef MAL_FRONT_SCAVENGE_H
#define MAL_FRONT_SCAVENGE_H

#include <stdint.h>

/* To be called once in `round_ns`, by the background thread. */
void mal_scavenge_round(uint64_t round_ns);

#endif
