/* SPDX-License-Identifier: Apache-2.0
 *
 * What the stack walker must know of a processor: which registers a function must give back to
 * its caller, how DWARF numbers them, how to read them here and now, what the kernel leaves on the
 * stack when it delivers a signal, and how to ask whether an address can be read.
 *
 * Registers have the walker's own numbers, `enum mal_unwind_reg`. The first
 * MAL_UNWIND_FAST_COUNT are those that nearly every frame needs; then come the others that calls
 * preserve; MAL_UNWIND_RA holds the pc of the frame at hand; MAL_UNWIND_SP comes last because no
 * frame saves it: a caller's stack pointer is the CFA.
 */
#ifndef MAL_OS_UNWIND_ARCH_H
#define MAL_OS_UNWIND_ARCH_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "base/attr.h"

#if defined(__x86_64__)

enum mal_unwind_reg {
    MAL_UNWIND_BP,
    MAL_UNWIND_RBX,
    MAL_UNWIND_R12,
    MAL_UNWIND_R13,
    MAL_UNWIND_R14,
    MAL_UNWIND_R15,
    MAL_UNWIND_RA,
    MAL_UNWIND_SP,
    MAL_UNWIND_REG_COUNT,
    MAL_UNWIND_FAST_COUNT = MAL_UNWIND_RBX,
};

/* Below sp, a function's own all the same: signal handlers stay clear of it. */
#define MAL_UNWIND_RED_ZONE_BYTES 128

/* A call pushes its return address; no register ever holds it. */
#define MAL_UNWIND_HAS_LR 0
#define MAL_UNWIND_LR MAL_UNWIND_RA

#define MAL_UNWIND_DWARF_PC 16

/* DWARF's number to ours; MAL_UNWIND_REG_COUNT for what calls do not preserve. */
MAL_FAST uint8_t mal_unwind_arch_register(uint64_t dwarf) {
    enum { NO = MAL_UNWIND_REG_COUNT };
    static const uint8_t map[MAL_UNWIND_DWARF_PC + 1] = {
        NO,
        NO,
        NO,
        MAL_UNWIND_RBX,
        NO,
        NO,
        MAL_UNWIND_BP,
        MAL_UNWIND_SP,
        NO,
        NO,
        NO,
        NO,
        MAL_UNWIND_R12,
        MAL_UNWIND_R13,
        MAL_UNWIND_R14,
        MAL_UNWIND_R15,
        MAL_UNWIND_RA,
    };
    return dwarf <= MAL_UNWIND_DWARF_PC ? map[dwarf] : (uint8_t)NO;
}

/* When a handler returns, sp is at the ucontext. `mov $15, %rax; syscall`, first eight bytes. */
#define MAL_UNWIND_SIGRETURN_CODE 0x0f0000000fc0c748ull
#define MAL_UNWIND_SIGFRAME_UCONTEXT 0
#define MAL_UNWIND_SIGFRAME_GREG(greg)                                                             \
    (offsetof(ucontext_t, uc_mcontext.gregs) + (size_t)(greg) * sizeof(greg_t))
#define MAL_UNWIND_SIGFRAME_SP MAL_UNWIND_SIGFRAME_GREG(REG_RSP)
#define MAL_UNWIND_SIGFRAME_SAVED                                                                  \
    {                                                                                              \
        [MAL_UNWIND_BP] = MAL_UNWIND_SIGFRAME_GREG(REG_RBP) / 8,                                   \
        [MAL_UNWIND_RBX] = MAL_UNWIND_SIGFRAME_GREG(REG_RBX) / 8,                                  \
        [MAL_UNWIND_R12] = MAL_UNWIND_SIGFRAME_GREG(REG_R12) / 8,                                  \
        [MAL_UNWIND_R13] = MAL_UNWIND_SIGFRAME_GREG(REG_R13) / 8,                                  \
        [MAL_UNWIND_R14] = MAL_UNWIND_SIGFRAME_GREG(REG_R14) / 8,                                  \
        [MAL_UNWIND_R15] = MAL_UNWIND_SIGFRAME_GREG(REG_R15) / 8,                                  \
        [MAL_UNWIND_RA] = MAL_UNWIND_SIGFRAME_GREG(REG_RIP) / 8,                                   \
    }

/* Fills `reg` with the registers as they are here. Inlined, so that the pc it stores and the
 * values belong to the same place in the calling function. */
MAL_FAST void mal_unwind_arch_here(uintptr_t *reg) {
    __asm__ volatile("movq %%rbp, 0(%0)\n\t"
                     "movq %%rbx, 8(%0)\n\t"
                     "movq %%r12, 16(%0)\n\t"
                     "movq %%r13, 24(%0)\n\t"
                     "movq %%r14, 32(%0)\n\t"
                     "movq %%r15, 40(%0)\n\t"
                     "movq %%rsp, 56(%0)\n\t"
                     "leaq 0(%%rip), %%rax\n\t"
                     "movq %%rax, 48(%0)"
                     :
                     : "D"(reg)
                     : "rax", "memory");
}

/* Takes a pointer's signature off a return address. */
MAL_FAST uintptr_t mal_unwind_arch_strip(uintptr_t pc) {
    return pc;
}

MAL_FAST long mal_unwind_arch_syscall4(long number, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

enum mal_unwind_reg {
    MAL_UNWIND_BP,
    MAL_UNWIND_LR,
    MAL_UNWIND_X19,
    MAL_UNWIND_X28 = MAL_UNWIND_X19 + 9,
    MAL_UNWIND_RA,
    MAL_UNWIND_SP,
    MAL_UNWIND_REG_COUNT,
    MAL_UNWIND_FAST_COUNT = MAL_UNWIND_X19,
};

#define MAL_UNWIND_RED_ZONE_BYTES 0
#define MAL_UNWIND_HAS_LR 1

/* DWARF's column for the return address is x30 itself; the pc has none. */
#define MAL_UNWIND_DWARF_PC 32

MAL_FAST uint8_t mal_unwind_arch_register(uint64_t dwarf) {
    if (dwarf >= 19 && dwarf <= 28)
        return (uint8_t)(MAL_UNWIND_X19 + (dwarf - 19));
    if (dwarf == 29)
        return MAL_UNWIND_BP;
    if (dwarf == 30)
        return MAL_UNWIND_LR;
    return dwarf == 31 ? MAL_UNWIND_SP : MAL_UNWIND_REG_COUNT;
}

/* When a handler returns, sp is at the siginfo and the ucontext follows. The vdso's trampoline
 * has no unwind table: `mov x8, #139; svc #0`. */
#define MAL_UNWIND_SIGRETURN_CODE 0xd4000001d2801168ull
#define MAL_UNWIND_SIGFRAME_UCONTEXT sizeof(siginfo_t)
#define MAL_UNWIND_SIGFRAME_MCONTEXT                                                               \
    (MAL_UNWIND_SIGFRAME_UCONTEXT + offsetof(ucontext_t, uc_mcontext))
#define MAL_UNWIND_SIGFRAME_X(number)                                                              \
    ((MAL_UNWIND_SIGFRAME_MCONTEXT + offsetof(mcontext_t, regs)) / 8 + (number))
#define MAL_UNWIND_SIGFRAME_SP (MAL_UNWIND_SIGFRAME_MCONTEXT + offsetof(mcontext_t, sp))
#define MAL_UNWIND_SIGFRAME_SAVED                                                                  \
    {                                                                                              \
        [MAL_UNWIND_BP] = MAL_UNWIND_SIGFRAME_X(29), [MAL_UNWIND_LR] = MAL_UNWIND_SIGFRAME_X(30),  \
        [MAL_UNWIND_X19] = MAL_UNWIND_SIGFRAME_X(19),                                              \
        [MAL_UNWIND_X19 + 1] = MAL_UNWIND_SIGFRAME_X(20),                                          \
        [MAL_UNWIND_X19 + 2] = MAL_UNWIND_SIGFRAME_X(21),                                          \
        [MAL_UNWIND_X19 + 3] = MAL_UNWIND_SIGFRAME_X(22),                                          \
        [MAL_UNWIND_X19 + 4] = MAL_UNWIND_SIGFRAME_X(23),                                          \
        [MAL_UNWIND_X19 + 5] = MAL_UNWIND_SIGFRAME_X(24),                                          \
        [MAL_UNWIND_X19 + 6] = MAL_UNWIND_SIGFRAME_X(25),                                          \
        [MAL_UNWIND_X19 + 7] = MAL_UNWIND_SIGFRAME_X(26),                                          \
        [MAL_UNWIND_X19 + 8] = MAL_UNWIND_SIGFRAME_X(27),                                          \
        [MAL_UNWIND_X28] = MAL_UNWIND_SIGFRAME_X(28),                                              \
        [MAL_UNWIND_RA] = (MAL_UNWIND_SIGFRAME_MCONTEXT + offsetof(mcontext_t, pc)) / 8,           \
    }

MAL_FAST void mal_unwind_arch_here(uintptr_t *reg) {
    __asm__ volatile("stp x29, x30, [%0]\n\t"
                     "stp x19, x20, [%0, #16]\n\t"
                     "stp x21, x22, [%0, #32]\n\t"
                     "stp x23, x24, [%0, #48]\n\t"
                     "stp x25, x26, [%0, #64]\n\t"
                     "stp x27, x28, [%0, #80]\n\t"
                     "adr x9, .\n\t"
                     "mov x10, sp\n\t"
                     "stp x9, x10, [%0, #96]"
                     :
                     : "r"(reg)
                     : "x9", "x10", "memory");
}

/* xpaclri, which older processors take for a nop. */
MAL_FAST uintptr_t mal_unwind_arch_strip(uintptr_t pc) {
    register uintptr_t x30 __asm__("x30") = pc;
    __asm__("hint #7" : "+r"(x30));
    return x30;
}

MAL_FAST long mal_unwind_arch_syscall4(long number, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

#else
#error "the stack walker knows x86-64 and aarch64"
#endif

#define MAL_UNWIND_PAGE_BYTES ((uintptr_t)4096)

/* Whether the eight bytes at `address` can be read, asked of the kernel: it copies the signal set
 * before it looks at `how`, and ~0 is no way to change a mask. Changes nothing, not even errno. */
MAL_FAST bool mal_unwind_arch_readable(uintptr_t address) {
    return mal_unwind_arch_syscall4(SYS_rt_sigprocmask, ~0L, (long)address, 0, 8) == -EINVAL;
}

/* A word of another frame, which a damaged stack may place anywhere: no sanitizer may judge it. */
__attribute__((no_sanitize_address, no_sanitize_thread)) static inline uintptr_t
mal_unwind_arch_load(uintptr_t address) {
    typedef uintptr_t word __attribute__((aligned(1)));
    return *(const volatile word *)address;
}

#endif
