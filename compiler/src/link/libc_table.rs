//! The functions of the C library that code in a bundle may use, with the oldest symbol version each has.
//!
//! Files that are given, memory, threads, clock: nothing that reaches a network or starts a program. A library linked
//! against these versions loads on every glibc from 2.17 on (that is 2012; Rust's own baseline). On arm64 the port began
//! with 2.17, so all versions are that one; on x86-64 a function keeps the version in which it (or its present form) came.

use super::LinkError;

/// Architectures with a C library to link against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// arm64.
    Aarch64,
}

impl Arch {
    /// The architecture of a Linux triple with glibc.
    pub fn of_triple(triple: &str) -> Option<Self> {
        match triple {
            "x86_64-unknown-linux-gnu" => Some(Self::X86_64),
            "aarch64-unknown-linux-gnu" => Some(Self::Aarch64),
            _ => None,
        }
    }
    /// The linker's name for it.
    pub fn emulation(self) -> &'static str {
        match self {
            Self::X86_64 => "elf_x86_64",
            Self::Aarch64 => "aarch64linux",
        }
    }
    /// `e_machine` of its ELF files.
    pub fn machine(self) -> u16 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
        }
    }
}

/// A library to link against: what of it the code uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its recorded name.
    pub soname: &'static str,
    /// Functions with their versions, sorted by name.
    pub functions: Vec<(&'static str, &'static str)>,
}

const LIBC: &str = "libc.so.6";
const PTHREAD: &str = "libpthread.so.0";

/// Name, library, version on x86-64. Sorted by name.
static FUNCTIONS: &[(&str, &str, &str)] = &[
    ("__errno_location", LIBC, "GLIBC_2.2.5"),
    ("__fxstat", LIBC, "GLIBC_2.2.5"),
    ("abort", LIBC, "GLIBC_2.2.5"),
    ("clock_gettime", LIBC, "GLIBC_2.17"),
    ("clock_nanosleep", LIBC, "GLIBC_2.17"),
    ("close", LIBC, "GLIBC_2.2.5"),
    ("fcntl", LIBC, "GLIBC_2.2.5"),
    ("fsync", LIBC, "GLIBC_2.2.5"),
    ("ftruncate", LIBC, "GLIBC_2.2.5"),
    ("getauxval", LIBC, "GLIBC_2.16"),
    ("getpid", LIBC, "GLIBC_2.2.5"),
    ("lseek", LIBC, "GLIBC_2.2.5"),
    ("madvise", LIBC, "GLIBC_2.2.5"),
    ("memcmp", LIBC, "GLIBC_2.2.5"),
    ("memcpy", LIBC, "GLIBC_2.14"),
    ("memmove", LIBC, "GLIBC_2.2.5"),
    ("memset", LIBC, "GLIBC_2.2.5"),
    ("mkdir", LIBC, "GLIBC_2.2.5"),
    ("mlock", LIBC, "GLIBC_2.2.5"),
    ("mmap", LIBC, "GLIBC_2.2.5"),
    ("mprotect", LIBC, "GLIBC_2.2.5"),
    ("munmap", LIBC, "GLIBC_2.2.5"),
    ("nanosleep", LIBC, "GLIBC_2.2.5"),
    ("open", LIBC, "GLIBC_2.2.5"),
    ("openat", LIBC, "GLIBC_2.4"),
    ("posix_madvise", LIBC, "GLIBC_2.2.5"),
    ("pread", LIBC, "GLIBC_2.2.5"),
    ("pthread_attr_destroy", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_attr_init", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_attr_setdetachstate", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_attr_setstacksize", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_cond_broadcast", PTHREAD, "GLIBC_2.3.2"),
    ("pthread_cond_destroy", PTHREAD, "GLIBC_2.3.2"),
    ("pthread_cond_init", PTHREAD, "GLIBC_2.3.2"),
    ("pthread_cond_signal", PTHREAD, "GLIBC_2.3.2"),
    ("pthread_cond_timedwait", PTHREAD, "GLIBC_2.3.2"),
    ("pthread_cond_wait", PTHREAD, "GLIBC_2.3.2"),
    ("pthread_condattr_destroy", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_condattr_init", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_condattr_setclock", PTHREAD, "GLIBC_2.3.3"),
    ("pthread_create", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_detach", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_join", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_mutex_destroy", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_mutex_init", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_mutex_lock", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_mutex_trylock", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_mutex_unlock", PTHREAD, "GLIBC_2.2.5"),
    ("pthread_self", PTHREAD, "GLIBC_2.2.5"),
    ("pwrite", LIBC, "GLIBC_2.2.5"),
    ("read", LIBC, "GLIBC_2.2.5"),
    ("rename", LIBC, "GLIBC_2.2.5"),
    ("sched_getaffinity", LIBC, "GLIBC_2.3.4"),
    ("sched_yield", LIBC, "GLIBC_2.2.5"),
    ("strlen", LIBC, "GLIBC_2.2.5"),
    ("syscall", LIBC, "GLIBC_2.2.5"),
    ("sysconf", LIBC, "GLIBC_2.2.5"),
    ("unlink", LIBC, "GLIBC_2.2.5"),
    ("usleep", LIBC, "GLIBC_2.2.5"),
    ("write", LIBC, "GLIBC_2.2.5"),
];

/// The libraries that offer `wanted`, libraries without a use left out. `bcmp` is memcmp by another name.
///
/// # Errors
/// [`LinkError::Forbidden`] with all that are not in the table.
pub fn provide(arch: Arch, wanted: &[String]) -> Result<Vec<Library>, LinkError> {
    let mut libraries = [Library { soname: PTHREAD, functions: Vec::new() }, Library { soname: LIBC, functions: Vec::new() }];
    let mut names = Vec::new();
    for name in wanted {
        if is_the_linkers(name) {
            continue;
        }
        let Ok(at) = FUNCTIONS.binary_search_by_key(&name.as_str(), |f| f.0) else {
            if name == "bcmp" {
                libraries[1].functions.push(("bcmp", version(arch, "GLIBC_2.2.5")));
            } else {
                names.push(name.clone());
            }
            continue;
        };
        let (function, library, on_x86) = FUNCTIONS[at];
        libraries[usize::from(library == LIBC)].functions.push((function, version(arch, on_x86)));
    }
    if !names.is_empty() {
        return Err(LinkError::Forbidden { names });
    }
    Ok(libraries.into_iter().filter(|library| !library.functions.is_empty()).collect())
}

/// Symbols that the linker itself defines.
fn is_the_linkers(name: &str) -> bool {
    matches!(name, "_GLOBAL_OFFSET_TABLE_" | "__ehdr_start" | "_DYNAMIC" | "__dso_handle")
}

fn version(arch: Arch, on_x86: &'static str) -> &'static str {
    match arch {
        Arch::X86_64 => on_x86,
        Arch::Aarch64 => "GLIBC_2.17",
    }
}

/// Whether a symbol is a way to a network: what the manifest's privacy section must not hold.
pub fn reaches_network(symbol: &str) -> bool {
    const NETWORK: &[&str] = &[
        "accept",
        "accept4",
        "bind",
        "connect",
        "freeaddrinfo",
        "getaddrinfo",
        "gethostbyaddr",
        "gethostbyname",
        "getnameinfo",
        "getpeername",
        "getsockname",
        "getsockopt",
        "listen",
        "recv",
        "recvfrom",
        "recvmmsg",
        "recvmsg",
        "res_query",
        "res_search",
        "send",
        "sendmmsg",
        "sendmsg",
        "sendto",
        "setsockopt",
        "shutdown",
        "socket",
        "socketpair",
    ];
    NETWORK.contains(&symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_offers_no_network() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(FUNCTIONS.iter().all(|f| !reaches_network(f.0)));
    }

    #[test]
    fn unknown_functions_are_all_named() {
        let wanted: Vec<String> = ["connect", "mmap", "pthread_create", "socket"].map(String::from).into();
        let Err(LinkError::Forbidden { names }) = provide(Arch::X86_64, &wanted) else { panic!("must be refused") };
        assert_eq!(names, ["connect", "socket"]);
        let libraries = provide(Arch::Aarch64, &wanted[1..3]).expect("both are in the table");
        assert_eq!(libraries.len(), 2);
        assert_eq!(libraries[0].functions, [("pthread_create", "GLIBC_2.17")]);
    }
}
