/* SPDX-License-Identifier: Apache-2.0
 *
 * A box's heap profile in memory, for commands that calculate with it.
 */
#ifndef MAL_CLI_HEAP_PROFILE_H
#define MAL_CLI_HEAP_PROFILE_H

#include "box/reader.h"
#include "view/profile.h"
#include "view/view.h"

/* Its values are those of enum heap_value. Free with view_profile_free. 0 or -errno. */
int heap_profile_make(struct mal_box_reader *reader, struct view_symbols *symbols,
                      struct view_profile *ret_profile);

#endif
