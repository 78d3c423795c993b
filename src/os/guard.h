/* SPDX-License-Identifier: Apache-2.0
 *
 * A page that the kernel wipes in every forked child, handlers or not.
 */
#ifndef MAL_OS_GUARD_H
#define MAL_OS_GUARD_H

#include <stdbool.h>

/* Marks this process as known. Called at init and in a child that has been set up. */
void mal_guard_arm(void);

/* True in a child of a fork since the guard was armed. Never true where the kernel cannot wipe. */
bool mal_guard_is_wiped(void);

#endif
