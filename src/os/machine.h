/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine this is built for, as ELF files and library folders name it.
 */
#ifndef MAL_OS_MACHINE_H
#define MAL_OS_MACHINE_H

#include <elf.h>

#if defined(__x86_64__)
#define MAL_MACHINE_ELF EM_X86_64
#define MAL_MACHINE_FOLDER "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define MAL_MACHINE_ELF EM_AARCH64
#define MAL_MACHINE_FOLDER "aarch64-linux-gnu"
#else
#error "Mallard knows x86-64 and aarch64"
#endif

#endif
