/* SPDX-License-Identifier: Apache-2.0
 *
 * _exit and _Exit: ends that run no exit handlers but are clean all the same.
 *
 * A forked child usually ends so. The box is marked and removed, then the process ends exactly as
 * libc would end it.
 *
 * SYNCHRONIZATION. None here: ending the box is front/init.c's part.
 */
#include "os/exit.h"
#include "front/init.h"
#include "os/alias.h"

_Noreturn void mallard__exit(int status);

MAL_PUBLIC void mallard__exit(int status) {
    mal_init_end(status);
    mal_exit_group(status);
}

MAL_ALIAS(_exit, mallard__exit);
MAL_ALIAS(_Exit, mallard__exit);
