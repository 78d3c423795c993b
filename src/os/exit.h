/* SPDX-License-Identifier: Apache-2.0
 *
 * Ending the process without any handler.
 */
#ifndef MAL_OS_EXIT_H
#define MAL_OS_EXIT_H

_Noreturn void mal_exit_group(int status);

#endif
