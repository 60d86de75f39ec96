//! The functions of the C library that code in a bundle may use, with the oldest symbol version each has.
//!
//! Files that are given, memory, threads, clock: nothing that reaches a network or starts a program. A library linked
//! against these versions loads on every glibc from 2.17 on (that is 2012; Rust's own baseline). On arm64 the port began
//! with 2.17, so all versions are that one; on x86-64 a function keeps the version in which it (or its present form) came.
//! Android's library has the same functions under two other names and needs no versions.
//!
//! Loading a library at run time is for bundles that run on a GPU, whose driver is found in no other way; a bundle for a
//! processor that asks for it is refused.

use super::LinkError;

/// Architectures with a C library to link against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// arm64.
    Aarch64,
}

/// C libraries whose functions are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Libc {
    /// The GNU C library.
    Glibc,
    /// Android's.
    Bionic,
}

/// A system to link for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct System {
    /// Its processors.
    pub arch: Arch,
    /// Its C library.
    pub libc: Libc,
}

impl System {
    /// The system of a Linux triple.
    pub fn of_triple(triple: &str) -> Option<Self> {
        let (arch, libc) = match triple {
            "x86_64-unknown-linux-gnu" => (Arch::X86_64, Libc::Glibc),
            "aarch64-unknown-linux-gnu" => (Arch::Aarch64, Libc::Glibc),
            "x86_64-linux-android" => (Arch::X86_64, Libc::Bionic),
            "aarch64-linux-android" => (Arch::Aarch64, Libc::Bionic),
            _ => return None,
        };
        Some(Self { arch, libc })
    }
}

impl Arch {
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
    /// Functions with their versions (empty = none), sorted by name.
    pub functions: Vec<(&'static str, &'static str)>,
}

const LIBC: &str = "libc.so.6";
const PTHREAD: &str = "libpthread.so.0";
/// Empty in glibc since 2.34, where it only keeps the old names and versions alive.
const DL: &str = "libdl.so.2";
const BIONIC_LIBC: &str = "libc.so";
const BIONIC_DL: &str = "libdl.so";

/// Functions of glibc that bionic does not have, and the other way round.
const GLIBC_ONLY: [&str; 2] = ["__errno_location", "__fxstat"];
const BIONIC_ONLY: [&str; 2] = ["__errno", "fstat"];

/// Name, library, version on x86-64. Sorted by name.
static FUNCTIONS: &[(&str, &str, &str)] = &[
    ("__errno_location", LIBC, "GLIBC_2.2.5"),
    ("__fxstat", LIBC, "GLIBC_2.2.5"),
    ("abort", LIBC, "GLIBC_2.2.5"),
    ("clock_gettime", LIBC, "GLIBC_2.17"),
    ("clock_nanosleep", LIBC, "GLIBC_2.17"),
    ("close", LIBC, "GLIBC_2.2.5"),
    ("dlopen", DL, "GLIBC_2.2.5"),
    ("dlsym", DL, "GLIBC_2.2.5"),
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

/// The libraries that offer `wanted`, libraries without a use left out. `bcmp` is memcmp by another name. Functions that
/// load libraries are offered only if the code `loads_driver`.
///
/// # Errors
/// [`LinkError::Forbidden`] with all that are not offered.
pub fn provide(system: System, wanted: &[String], loads_driver: bool) -> Result<Vec<Library>, LinkError> {
    let mut libraries = [PTHREAD, DL, LIBC].map(|soname| Library { soname, functions: Vec::new() });
    let mut names = Vec::new();
    for name in wanted.iter().filter(|name| !is_the_linkers(name)) {
        let Some((function, library, version)) = offered(system, name).filter(|&(_, library, _)| library != DL || loads_driver) else {
            names.push(name.clone());
            continue;
        };
        if let Some(found) = libraries.iter_mut().find(|found| found.soname == library) {
            found.functions.push((function, version));
        }
    }
    if !names.is_empty() {
        return Err(LinkError::Forbidden { names });
    }
    if system.libc == Libc::Bionic {
        let [pthread, dl, libc] = &mut libraries;
        libc.functions.append(&mut pthread.functions);
        libc.functions.sort_unstable();
        (dl.soname, libc.soname) = (BIONIC_DL, BIONIC_LIBC);
    }
    Ok(libraries.into_iter().filter(|library| !library.functions.is_empty()).collect())
}

/// The function of this name with its library in glibc's order and its version.
fn offered(system: System, name: &str) -> Option<(&'static str, &'static str, &'static str)> {
    if system.libc == Libc::Bionic {
        if let Some(function) = BIONIC_ONLY.into_iter().find(|function| *function == name) {
            return Some((function, LIBC, ""));
        }
        if GLIBC_ONLY.contains(&name) {
            return None;
        }
    }
    let (function, library, on_x86) = match FUNCTIONS.binary_search_by_key(&name, |f| f.0) {
        Ok(at) => FUNCTIONS[at],
        Err(_) if name == "bcmp" => ("bcmp", LIBC, "GLIBC_2.2.5"),
        Err(_) => return None,
    };
    let version = match (system.libc, system.arch) {
        (Libc::Bionic, _) => "",
        (Libc::Glibc, Arch::X86_64) => on_x86,
        (Libc::Glibc, Arch::Aarch64) => "GLIBC_2.17",
    };
    Some((function, library, version))
}

/// Symbols that the linker itself defines.
fn is_the_linkers(name: &str) -> bool {
    matches!(name, "_GLOBAL_OFFSET_TABLE_" | "__ehdr_start" | "_DYNAMIC" | "__dso_handle")
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

    fn system(triple: &str) -> System {
        System::of_triple(triple).expect("known")
    }

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(String::from).into()
    }

    #[test]
    fn unknown_functions_are_all_named() {
        let wanted = names(["connect", "mmap", "pthread_create", "socket"]);
        let Err(LinkError::Forbidden { names }) = provide(system("x86_64-unknown-linux-gnu"), &wanted, false) else { panic!("must be refused") };
        assert_eq!(names, ["connect", "socket"]);
        let libraries = provide(system("aarch64-unknown-linux-gnu"), &wanted[1..3], false).expect("both are in the table");
        assert_eq!(libraries.len(), 2);
        assert_eq!(libraries[0].functions, [("pthread_create", "GLIBC_2.17")]);
    }

    #[test]
    fn libraries_are_loaded_only_by_code_for_gpus() {
        let wanted = names(["dlopen", "dlsym", "mmap"]);
        for triple in ["x86_64-unknown-linux-gnu", "aarch64-linux-android"] {
            let Err(LinkError::Forbidden { names }) = provide(system(triple), &wanted, false) else { panic!("must be refused") };
            assert_eq!(names, ["dlopen", "dlsym"]);
        }
        let libraries = provide(system("x86_64-unknown-linux-gnu"), &wanted, true).expect("offered");
        assert_eq!(libraries[0], Library { soname: "libdl.so.2", functions: vec![("dlopen", "GLIBC_2.2.5"), ("dlsym", "GLIBC_2.2.5")] });
        let libraries = provide(system("aarch64-unknown-linux-gnu"), &wanted, true).expect("offered");
        assert_eq!(libraries[0].functions, [("dlopen", "GLIBC_2.17"), ("dlsym", "GLIBC_2.17")]);
    }

    #[test]
    fn android_has_its_own_names_and_no_versions() {
        let wanted = names(["__errno", "bcmp", "dlopen", "fstat", "pthread_create"]);
        let libraries = provide(system("aarch64-linux-android"), &wanted, true).expect("offered");
        let expected = ["__errno", "bcmp", "fstat", "pthread_create"].map(|name| (name, "")).to_vec();
        assert_eq!(libraries[0], Library { soname: "libdl.so", functions: vec![("dlopen", "")] });
        assert_eq!(libraries[1], Library { soname: "libc.so", functions: expected });
        for (triple, name) in [("aarch64-linux-android", "__fxstat"), ("aarch64-unknown-linux-gnu", "__errno")] {
            assert!(provide(system(triple), &names([name]), true).is_err(), "{name}");
        }
    }
}
