/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel maps into each process to be called.
 */
#ifndef MAL_OS_VDSO_H
#define MAL_OS_VDSO_H

/* The function of that name, or NULL. Allocates nothing and takes no lock. */
void *mal_vdso_find(const char *name);

#endif
