/* SPDX-License-Identifier: Apache-2.0
 *
 * The address of the instruction at which the macro stands, without a frame of its own.
 */
#ifndef MAL_TESTS_SUPPORT_HERE_H
#define MAL_TESTS_SUPPORT_HERE_H

#if defined(__x86_64__)
#define ADDRESS_OF_HERE(ret_address) __asm__ volatile("lea 0(%%rip), %0" : "=r"(ret_address))
#else
#define ADDRESS_OF_HERE(ret_address) __asm__ volatile("adr %0, ." : "=r"(ret_address))
#endif

#endif
