package android.content;

/** What slmc.Model uses of Android's class; for the compiler only. */
public abstract class Context {
    public abstract android.content.res.AssetManager getAssets();

    public abstract java.io.File getNoBackupFilesDir();

    public abstract java.io.File getCacheDir();
}
