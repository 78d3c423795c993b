/* SPDX-License-Identifier: Apache-2.0
 *
 * Ending Mallard's own threads while the program goes on.
 */
#ifndef MAL_FRONT_ALONE_H
#define MAL_FRONT_ALONE_H

#include <stdbool.h>

/* They end for good, if the program has no other thread than the calling one. Whether that is alone
 * now; true also where nobody can know. Does not change errno. */
bool mal_alone_at_end(void);

#endif
