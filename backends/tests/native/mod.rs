//! Loads emitted objects: links them with the system's C compiler and a shim that hands out the hidden table of kernels.

use slmc_backends::Artifact;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const SHIM: &str = "
extern void *const slmc_kernels[] __attribute__((visibility(\"hidden\")));
extern const unsigned char slmc_code[] __attribute__((visibility(\"hidden\")));
void *kernel_at(int i) { return slmc_kernels[i]; }
const unsigned char *code_header(void) { return slmc_code; }
";

/// What the stub calls: bindings, step, x, y, z.
pub type KernelFn = unsafe extern "C" fn(*const *mut u8, *const [u32; 4], u32, u32, u32);

/// Kernels in this process.
pub struct Native {
    kernels: Vec<KernelFn>,
    header: *const u8,
    _library: libloading::Library,
    _dir: tempfile::TempDir,
}

impl Native {
    /// Links and loads an artifact of `count` kernels. The shared object may need no symbol from elsewhere.
    pub fn load(artifact: &Artifact, count: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let shim = dir.path().join("shim.c");
        std::fs::write(&shim, SHIM).expect("a file in the temporary folder");
        let library = dir.path().join("kernels.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-nostdlib", "-Wl,--no-undefined", "-o"]).arg(&library).arg(&shim);
        for object in &artifact.objects {
            cc.arg(write(dir.path(), &format!("{}.o", object.name), &object.bytes));
        }
        let out = cc.output().expect("a C compiler `cc`");
        assert!(out.status.success(), "linking failed: {}", String::from_utf8_lossy(&out.stderr));
        // SAFETY: the library was just made from our objects and has no initializers.
        let loaded = unsafe { libloading::Library::new(&library) }.expect("the linked library loads");
        // SAFETY: both symbols are functions of the shim with these types; the index is below the table's length.
        let (kernels, header) = unsafe {
            let at = loaded.get::<unsafe extern "C" fn(i32) -> KernelFn>(b"kernel_at").expect("a symbol of the shim");
            let header = loaded.get::<unsafe extern "C" fn() -> *const u8>(b"code_header").expect("a symbol of the shim");
            ((0..count).map(|i| at(i as i32)).collect(), header())
        };
        Self { kernels, header, _library: loaded, _dir: dir }
    }

    /// The code of kernel `i`.
    pub fn kernel(&self, i: usize) -> KernelFn {
        self.kernels[i]
    }

    /// The first `n` bytes of the code header.
    #[allow(dead_code, reason = "not every user looks at the header")]
    pub fn header(&self, n: usize) -> Vec<u8> {
        // SAFETY: the caller emitted a header of at least n bytes, and the library stays loaded as long as `self`.
        unsafe { std::slice::from_raw_parts(self.header, n) }.to_vec()
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.join(name);
    let mut file = std::fs::File::create(&path).expect("a file in the temporary folder");
    file.write_all(bytes).expect("room in the temporary folder");
    path
}
