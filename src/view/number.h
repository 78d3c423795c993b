/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as text where printf has no form for them.
 */
#ifndef MAL_VIEW_NUMBER_H
#define MAL_VIEW_NUMBER_H

#define VIEW_NUMBER_BYTES 32

/* The shortest decimal that reads back as the same double; "0" for zero. */
void view_shortest(double value, char ret_text[VIEW_NUMBER_BYTES]);

#endif
