package android.content.res;

/** What slmc.Model uses of Android's class; for the compiler only. */
public final class AssetManager {
    public java.io.InputStream open(String path) throws java.io.IOException {
        throw new java.io.IOException(path);
    }
}
