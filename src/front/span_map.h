/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of spans in the box.
 */
#ifndef MAL_FRONT_SPAN_MAP_H
#define MAL_FRONT_SPAN_MAP_H

#include <stdint.h>

/* Draws the map anew. Returns how many spans are listed. Background thread, box open. */
uint32_t mal_span_map_draw(void);

#endif
