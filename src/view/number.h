/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums of figures that may lie, and numbers as text where printf has no form for them.
 */
#ifndef MAL_VIEW_NUMBER_H
#define MAL_VIEW_NUMBER_H

#include <stdint.h>

#define VIEW_NUMBER_BYTES 32

/* a + b; beyond the range of int64_t the end of it. */
int64_t view_sum(int64_t a, int64_t b);

/* The shortest decimal that reads back as the same double; "0" for zero. */
void view_shortest(double value, char ret_text[VIEW_NUMBER_BYTES]);

#endif
